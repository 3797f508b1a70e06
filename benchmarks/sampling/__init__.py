"""Taking samples, keeping them with what must be known of them, and telling of them."""
