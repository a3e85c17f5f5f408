"""Where data lies: folders of files, or LMDB files that look like them."""
