"""nics"""
