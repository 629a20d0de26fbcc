"""The node reconciler: one step per pass, one file per phase."""
