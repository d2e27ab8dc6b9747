/* ipnet — an address as 16 bytes, IPv4 mapped into IPv6, so that a mask is a mask; yet IPv4 and IPv6 never match each other. */
#ifndef CONF_IPNET_H
#define CONF_IPNET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct ip {
	uint8_t at[16];
};
struct ipnet {
	struct ip ip, mask;
};
bool ip_parse(const char *text, struct ip *ip);
bool ip_of_sockaddr(const struct sockaddr *sa, struct ip *ip); /* false: neither IPv4 nor IPv6 */
bool ip_is_v4(const struct ip *ip);
struct ip ip_mask_of(bool is_v4, unsigned bits);
bool ip_is_mask(const struct ip *mask); /* ones, then zeros */
bool ipnet_has(const struct ipnet *net, const struct ip *ip);
/* This machine's addresses with their networks; heap.  Returns how many. */
size_t ipnet_own(struct ipnet **out);

#endif
