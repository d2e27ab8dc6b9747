/*
 * finished — what hooks of the operation under way have finished: kept in the record, beside whatever the operation does.
 *
 * Always: one at a time is on its way to the record, and who asks for another meanwhile asks again;  it goes with its operation.
 */
#include <stdio.h>
#include <string.h>

#include "opspriv.h"

static bool is_under_way(const struct ops *o, uint64_t operation)
{
	return operation && o->record.op.id == operation;
}

const char *ops_step(const struct ops *o, uint64_t operation, const char *key)
{
	return is_under_way(o, operation) ? record_step(&o->record, key) : NULL;
}

bool op_tend_finished(struct ops *o)
{
	if (!o->finished.operation)
		return false;
	op_draft(o);
	if (is_under_way(o, o->finished.operation) && record_finish_step(&o->next, o->finished.key, o->finished.value)) {
		op_propose_beside(o);
		return true;
	}
	o->finished.operation = 0; /* it is recorded, or nobody asks for it any more */
	return false;
}

bool ops_finish_step(struct ops *o, uint64_t operation, const char *key, const char *value, struct err *err)
{
	if (!is_under_way(o, operation))
		return err_set(err, "55000", "operation %llu is over", (unsigned long long)operation);
	if (record_step(&o->record, key))
		return true;
	if (o->finished.operation == operation)
		return strcmp(o->finished.key, key) == 0 || err_set(err, "55006", "another step is being recorded");
	if (!record_has_room(&o->record, key, value))
		return err_set(err, "54000", "an operation keeps %u steps, and %u bytes of them, at most", RECORD_STEPS_N_MAX,
		               RECORD_STEPS_MAX);
	o->finished.operation = operation;
	snprintf(o->finished.key, sizeof o->finished.key, "%s", key);
	snprintf(o->finished.value, sizeof o->finished.value, "%s", value);
	ops_go_on(o);
	return true;
}
