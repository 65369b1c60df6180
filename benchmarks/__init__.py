"""Figures beside baselines of the same run. Nothing here is asserted: machines are noisy."""
