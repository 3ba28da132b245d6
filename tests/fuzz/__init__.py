"""What strangers, broken clients and odd files send: clear errors, and nothing stored half."""
