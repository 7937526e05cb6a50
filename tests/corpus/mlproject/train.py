import sys

print("alpha", float(sys.argv[1]))
