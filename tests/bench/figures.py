"""figures — tables of figures beside each other, and the verdict on each bar; instructions by callgrind."""
import glob
import os
import re
import statistics
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import ENGINE, temp_dir  # noqa: E402

verdicts = []  # lines of the end: which bars were held


def say(text=''):
    print(text, flush=True)


def note(text):
    print(f'bench: {text}', file=sys.stderr, flush=True)


def verdict(held, text):
    verdicts.append(f'{"held" if held else "MISSED":7} {text}')


def table(title, unit, rows, names, cells, brackets='; in brackets: Lunapool / it'):
    say()
    say(f'{title} ({unit}){brackets}')
    say(f'{"":22}' + ''.join(f'{n:>20}' for n in names))
    for row in rows:
        say(f'{row:22}' + ''.join(f'{cells.get((row, n), "-"):>20}' for n in names))


def ratio_of(ours, theirs):
    pairs = [a / b for a, b in zip(ours, theirs) if a is not None and b]
    return statistics.median(pairs) if pairs else None


def cell(values, ours, is_ours, form='{:.1f}'):
    good = [v for v in values if v is not None]
    if not good:
        return '-'
    text = form.format(statistics.median(good))
    ratio = None if is_ours else ratio_of(ours, values)
    return f'{text} ({ratio:.2f})' if ratio is not None else text


def counted(path):
    """Instructions by thread."""
    threads = {}
    for part in glob.glob(path + '*'):
        with open(part) as f:
            totals = [int(m.group(1)) for m in re.finditer(r'^(?:totals|summary): (\d+)', f.read(), re.M)]
        if totals:
            threads[part.rsplit('-', 1)[-1]] = max(totals)
    return threads


def instructions_once(bench, kind, args, transactions):
    out = f'{bench.args.keep or temp_dir(None)}/{kind.name.replace(" ", "_")}.{transactions}.counts'
    for old in glob.glob(out + '*'):
        os.unlink(old)
    os.chmod(os.path.dirname(out), 0o777)
    was = dict(ENGINE)
    ENGINE['engine'] = 'epoll'  # valgrind lets no other thread run while one sleeps in io_uring_enter
    peer = kind(bench.cluster, ['valgrind', '-q', '--tool=callgrind', '--separate-threads=yes', f'--callgrind-out-file={out}'])
    try:
        bench.load(peer, args, '-t', str(transactions))
    finally:
        peer.stop()
        ENGINE.clear()
        ENGINE.update(was)
    return counted(out)


def instructions_each(bench, kind, args, clients, short, long):
    """Instructions for each transaction of the thread that serves: what the others do goes with time, which callgrind stretches."""
    a, b = (instructions_once(bench, kind, args, t) for t in (short, long))
    return max(b[t] - a.get(t, 0) for t in b) / ((long - short) * clients)
