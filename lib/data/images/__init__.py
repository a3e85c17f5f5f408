"""Pictures: frames of a video, and what is decoded of a JPEG."""
