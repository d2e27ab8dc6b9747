/* hbaopts — the end of a rule: its method and the options behind it. */
#ifndef CONF_HBAOPTS_H
#define CONF_HBAOPTS_H

#include "conf/hba.h"
#include "hbaline.h"

enum hba_type { TYPE_LOCAL, TYPE_HOST, TYPE_HOSTSSL, TYPE_HOSTNOSSL, TYPE_NEVER /* hostgssenc */ };

/* Method and options from the field AT on, for a rule of TYPE. */
void method_read(struct hbaline *l, size_t at, enum hba_type type, struct hba_rule *rule);
void method_fini(struct hba_rule *rule); /* wipes */
bool method_equal(const struct hba_rule *a, const struct hba_rule *b);

#endif
