"""The roads: plain settings in, files in a working directory out."""
