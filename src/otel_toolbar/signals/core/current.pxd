# How `current.py` is compiled.

cpdef span()
cpdef span_in(where)
cpdef value(key)
cpdef context()
cpdef attach(given, outer)
cpdef put(given)
