"""What the programs in Python say: a line for each thing that was looked at, and a status."""
import sys

failed = 0


def ok(value, name):
    global failed
    failed += not value
    print(('ok ' if value else 'not ok ') + name, flush=True)


def same(got, want, name):
    ok(got == want, name if got == want else f'{name}: got {got!r}, wanted {want!r}')


def finish():
    sys.exit(1 if failed else 0)
