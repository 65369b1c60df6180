"""The local engine: sandboxed processes of this machine, forked by a launcher."""
