"""Tests of the API: its frame, its document, and one file for each resource."""
