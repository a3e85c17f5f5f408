"""What people read: tables, plots, films, a web page, submissions."""
