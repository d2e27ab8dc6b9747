/* ipnet — addresses, masks and this machine's networks, for hba.c. */
#include "ipnet.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <string.h>

#include "base/mem.h"

static const uint8_t v4_prefix[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

static struct ip ip_of_v4(const void *four)
{
	struct ip ip;
	memcpy(ip.at, v4_prefix, 12);
	memcpy(ip.at + 12, four, 4);
	return ip;
}

bool ip_is_v4(const struct ip *ip)
{
	return memcmp(ip->at, v4_prefix, sizeof v4_prefix) == 0;
}

bool ip_parse(const char *text, struct ip *ip)
{
	struct in_addr v4;
	if (inet_pton(AF_INET, text, &v4) != 1)
		return inet_pton(AF_INET6, text, ip->at) == 1;
	*ip = ip_of_v4(&v4);
	return true;
}

bool ip_of_sockaddr(const struct sockaddr *sa, struct ip *ip)
{
	if (sa->sa_family == AF_INET)
		*ip = ip_of_v4(&((const struct sockaddr_in *)(const void *)sa)->sin_addr);
	else if (sa->sa_family == AF_INET6)
		memcpy(ip->at, &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr, 16);
	else
		return false;
	return true;
}

struct ip ip_mask_of(bool is_v4, unsigned bits)
{
	struct ip mask = { { 0 } };
	for (unsigned i = 0; i < (is_v4 ? bits + 96 : bits); i++)
		mask.at[i / 8] |= (uint8_t)(0x80 >> i % 8);
	return mask;
}

bool ip_is_mask(const struct ip *mask)
{
	bool ended = false;
	for (unsigned i = 0; i < 128; i++) {
		bool bit = mask->at[i / 8] & (0x80 >> i % 8);
		if (bit && ended)
			return false;
		ended |= !bit;
	}
	return true;
}

bool ipnet_has(const struct ipnet *net, const struct ip *ip)
{
	if (ip_is_v4(&net->ip) != ip_is_v4(ip))
		return false; /* ::/0 is all of IPv6 only */
	for (unsigned i = 0; i < 16; i++)
		if ((ip->at[i] ^ net->ip.at[i]) & net->mask.at[i])
			return false;
	return true;
}

size_t ipnet_own(struct ipnet **out)
{
	struct ifaddrs *all;
	size_t n = 0;
	*out = NULL;
	if (getifaddrs(&all) < 0)
		return 0;
	for (const struct ifaddrs *it = all; it; it = it->ifa_next) {
		struct ipnet net;
		if (!it->ifa_addr || !it->ifa_netmask || !ip_of_sockaddr(it->ifa_addr, &net.ip) ||
		    !ip_of_sockaddr(it->ifa_netmask, &net.mask))
			continue;
		if (ip_is_v4(&net.ip))
			memset(net.mask.at, 0xff, 12);
		*out = mem_grow(*out, (n + 1) * sizeof **out);
		(*out)[n++] = net;
	}
	freeifaddrs(all);
	return n;
}
