#!/usr/bin/env -S /usr/bin/python3
"""What the program says to its command line, and when it cannot start."""
import os
import re
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403

proxy_only()
home = temp_dir()
GOOD = 'listen {{ address = "127.0.0.1"  port = {port} }}\nauth {{ hba_file = "hba.conf" }}\n' \
    'cluster "main" {{ node "n" {{ host = "127.0.0.1"  port = 1 }} }}\ndatabase "*" {{ }}\n'


def conf(text, name='lunapool.conf'):
    with open(f'{home}/hba.conf', 'w') as f:
        f.write('host all all all trust\n')
    with open(f'{home}/{name}', 'w') as f:
        f.write(text)
    return f'{home}/{name}'


def said(*args):
    return run([PROGRAM, *args], timeout=20)


status, out, err = said('--version')
like(out, r'^lunapool \d+\.\d+\.\d+\n$', '--version')
is_((status, err), (0, ''), '--version succeeds')
status, out, err = said('--help')
like(out, r'--check -c PATH', '--help')
is_((status, err), (0, ''), '--help succeeds')
for args in ([], ['--nonsense'], ['-c'], ['-c', 'x', 'y'], ['--docs', 'params', 'x'], ['--docs', 'nothing'], ['--docs', 'sample'],
             ['--docs', 'sample', 'nothing'], ['--check']):
    status, out, err = said(*args)
    is_((status, out), (2, ''), f'"{" ".join(args)}" is a mistake')
    ok(err, '… and that is said')

good = conf(GOOD.format(port=0))
is_(said('--check', '-c', good), (0, f'{good}: good\n', ''), '--check of a good file')
bad = conf(GOOD.format(port=0) + 'pool { sise = 3  mode = sometimes }\nworkers = 1000\n', 'bad.conf')
status, out, err = said('--check', '-c', bad)
is_((status, out), (1, ''), '--check of a bad file fails')
like(err, r'bad\.conf:5: .*sise', '… and tells file and line')
like(err, r'sometimes', '… of everything that is wrong')
like(err, r'bad\.conf:6: .*workers', '… not only of the first')
status, out, err = said('-c', bad)
is_((status, out), (1, ''), 'a bad file does not start')
like(err, r'config_error where=\S*bad\.conf:5 ', '… and the log tells file and line')
status, out, err = said('-c', f'{home}/none')
is_((status, out), (1, ''), 'a file that is not there does not start')

with open(f'{ROOT}/README.md') as f:  # its first configuration, as it stands there
    blocks = re.findall(r'(?:^ {4}.*\n)+', f.read(), re.M)
part = lambda word: [b for b in blocks if word in b][0].replace('\n    ', '\n').lstrip()  # noqa: E731
os.mkdir(f'{home}/conf.d')
for name, word in (('conf.d/10-lunapool.conf', 'listen '), ('hba', 'host all'), ('users', '"app" "secret"')):
    with open(f'{home}/{name}', 'w') as f:
        f.write(part(word))
is_(said('--check', '-c', f'{home}/conf.d'), (0, f'{home}/conf.d: good\n', ''), "README's first configuration is good")

with socket.create_server(('127.0.0.1', 0)) as s:
    port = s.getsockname()[1]
    taken = conf(GOOD.format(port=port))
    is_(said('--check', '-c', taken)[0], 0, '--check opens no port')
    status, out, err = said('-c', taken)
    is_((status, out), (1, ''), 'a port that is taken: does not start')
    like(err, rf'start_failed .*127\.0\.0\.1:{port}.*in use', '… and the log tells which')
    ok('Sanitizer' not in err, '… and nothing is left behind')
done()
