import errno

raise PermissionError(errno.EACCES, "Permission denied", "/etc/shadow")
