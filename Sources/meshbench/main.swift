import Glibc

print("meshbench")
