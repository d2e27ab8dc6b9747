/*
 * monitor — what monitoring may ask for over HTTP.
 */
#include "app/monitor.h"

#include <stdlib.h>
#include <string.h>

#include "admin/metrics.h"
#include "app/app.h"
#include "app/httpd.h"
#include "base/mem.h"

struct monitor {
	struct app *app;
	struct httpd *httpd;
	bool is_leaving;
};

static char *health(const struct monitor *m, size_t *len, unsigned *status)
{
	const char *text = m->is_leaving ? "leaving\n" : "serving\n";
	*status = m->is_leaving ? 503 : 200;
	*len = strlen(text);
	return strdup(text);
}

static char *page(void *arg, const char *path, size_t *len, const char **type, unsigned *status)
{
	const struct monitor *m = arg;
	const struct app *a = m->app;
	if (strcmp(path, "/health") == 0)
		return health(m, len, status);
	if (strcmp(path, "/metrics") != 0)
		return NULL;
	const struct console c = { .topo = topo_latest(a->board),
		                       .pool_registry = a->pools,
		                       .session_registry = a->sessions,
		                       .records = a->records,
		                       .hooks = a->hooks };
	*type = METRICS_TYPE;
	return metrics_page(&c, len);
}

void monitor_on_conf(struct monitor *m)
{
	const struct conf *conf = topo_latest(m->app->board)->conf;
	if (!m->is_leaving)
		httpd_apply(m->httpd, conf->http_address, (int)conf->http_port);
}

void monitor_leave(struct monitor *m)
{
	m->is_leaving = true;
	httpd_apply(m->httpd, "", -1);
}

struct monitor *monitor_new(struct app *a)
{
	struct monitor *m = mem_alloc(sizeof *m);
	m->app = a;
	m->httpd = httpd_new(a->loop, page, m);
	return m;
}

void monitor_free(struct monitor *m)
{
	if (!m)
		return;
	httpd_free(m->httpd);
	mem_free(m);
}
