/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_TESTS_UNIT_DNS_LIAR_H
#define SPLICED_TESTS_UNIT_DNS_LIAR_H

#include <stdint.h>

/*
 * A name server on a free port of 127.0.0.1, UDP and TCP, in a thread of its own.  What it does with a
 * question is up to the first label of the name: "honest" gets an answer, the others each their kind of lie
 * (dns_liar.c lists them), and whatever it does not know is refused.
 */
struct dns_liar;

struct dns_liar *dns_liar_start(void);
uint16_t dns_liar_port(const struct dns_liar *liar);
void dns_liar_stop(struct dns_liar *liar);

#endif
