import ctypes


def read(address):
    return ctypes.string_at(address)


print(read(0))
