"""What proves who somebody is: passwords, one-time tokens, sessions, signed tokens; and what holds guessing back."""
