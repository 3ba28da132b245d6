"""What the outside is told: events, endpoints and destinations, signed delivery with retries."""
