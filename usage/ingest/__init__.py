"""Usage events on their way in: decoded, checked one by one, grouped by partition, and handed to the brokers."""
