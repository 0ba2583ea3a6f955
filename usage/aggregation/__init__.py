"""From records of usage to what they add up to: read, told apart, folded and written in one transaction a poll."""
