# Lines to pieces of a C string.
s/[\\"]/\\&/g
s/^/        "/
s/$/\\n"/
