/* Any text as a configuration: it loads or it says why not; what has loaded can be shown, compared and asked. */
#include <string.h>

#include "base/log.h"
#include "conf/changes.h"
#include "conf/conf.h"
#include "memfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct memfile file, rules;

static void on_setting(void *arg, const char *name, const char *value, const char *dflt, bool needs_restart)
{
	ASSERT(name && value && dflt);
}

static void on_change(void *arg, const struct change *c)
{
	die("differs from itself: %s", c->text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct conf_errors errors = { 0 };
	if (!rules.fd)
		setenv("RULES", memfile(&rules, "local all all trust\n", 20), 1);
	struct conf *c = conf_load(memfile(&file, data, size), &errors);
	ASSERT((c != NULL) == (errors.n == 0));
	if (c) {
		struct conf_effective e;
		conf_each(c, on_setting, NULL);
		ASSERT(conf_changes(c, c, on_change, NULL) == 0);
		for (size_t i = 0; i < c->n_databases; i++) {
			conf_effective(c, &c->databases[i], c->n_users ? &c->users[0] : NULL, &e);
			ASSERT(e.size > 0 && e.min_size <= e.size && e.max_pinned <= e.size && c->databases[i].cluster_at < c->n_clusters);
		}
	}
	conf_free(c);
	conf_errors_fini(&errors);
	return 0;
}
