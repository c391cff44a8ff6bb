# How `record.py` is compiled.

cdef class Record:
    cdef public object account, later, now, resource, root, route, server, told_of_starts, trace_id
    cdef public object untold, untold_logs
    cdef public list ended, logs, spans, timed
    cdef public dict subjects
    cdef public long long dropped, limit
    cdef public double closed_at
    cdef public bint ends_for_all

    cpdef keep(self, span)


cpdef current()
cpdef current_in(context)
