# How `current.py` is compiled.

cpdef span()
cpdef value(key)
cpdef put(given)
