"""Everything that measures cost; no other room imports it, and it imports what it measures."""
