"""What starts processes: the roles, the embedded servers, and the supervisor that watches them."""
