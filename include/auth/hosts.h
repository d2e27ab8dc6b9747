/*
 * hosts — names of addresses, remembered for some seconds, so that who opens many connections does not make as many questions to DNS.  Any thread.
 */
#ifndef AUTH_HOSTS_H
#define AUTH_HOSTS_H

#include "net/addr.h"

#define HOSTS_NAME_MAX 256

struct hosts;
struct hosts *hosts_new(void);
void hosts_free(struct hosts *h);
/* False: nobody knows, or what was known is too old.  *IS_KNOWN: whether NAME could be found out when it was asked; "": it has none that counts. */
bool hosts_get(struct hosts *h, const struct addr *peer, uint64_t now_us, bool *is_known, char name[HOSTS_NAME_MAX]) MUST_CHECK;
void hosts_put(struct hosts *h, const struct addr *peer, uint64_t now_us, bool is_known, const char *name);

#endif
