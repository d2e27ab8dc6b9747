"""authmatrix — what a login is to end in: client method x server method x secret stored by the server x where we know it from."""

CLIENTS = ('trust', 'password', 'md5', 'scram-sha-256', 'reject')
SOURCES = ('clear', 'md5', 'scram', 'query', 'none')


def expected(client, srv, stored, source, right=True, private=True):
    """'' when the login works, else its SQLSTATE.

    CLIENT, SRV: methods; trust is any that shows no password, SRV scram.  STORED md5 or scram: the server's secret.  SOURCE: what the users file
    has (a SCRAM secret is the server's own if that has one), query: the server is asked for it.  PRIVATE: clear text may go to the server."""
    kind = {'clear': 'clear', 'md5': 'md5', 'scram': 'scram', 'query': stored, 'none': None}[source]
    if client == 'reject':
        return '28000'
    if client != 'trust' and (not right or kind is None or (client == 'scram-sha-256' and kind == 'md5')):
        return '28P01'
    clear = kind == 'clear' or client == 'password'
    shows_keys = kind == 'scram' and client in ('md5', 'scram-sha-256')
    md5 = kind == 'md5' and (source != 'query' or client != 'trust')  # … for then nobody asks
    keys = shows_keys and (source == 'query' or stored == 'scram')
    works = {'trust': True, 'password': clear and private, 'md5': clear or (md5 if stored == 'md5' else keys),
             'scram': stored == 'scram' and (clear or keys)}[srv]
    if works:
        return ''
    if source == 'scram' and not (client == 'password' or shows_keys):
        return '28000'  # the users file has only a SCRAM secret
    if srv == 'password' and clear:
        return '28000'  # clear text that anybody could read on the way
    if srv == 'md5' and stored == 'md5' and shows_keys:
        return '28000'  # a SCRAM secret cannot be turned into an MD5 answer
    return '28P01'
