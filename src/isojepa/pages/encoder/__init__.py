"""An encoder's run -> its report."""
