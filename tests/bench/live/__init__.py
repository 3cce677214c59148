"""The running dispatcher measured from outside: a real process between a queue, a cloud and SSH servers of our own."""
