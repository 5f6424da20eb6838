/* SPDX-License-Identifier: GPL-2.0 */
/*
 * life.h - what has to hold when a port or its interface has gone
 */
#ifndef LIFE_H
#define LIFE_H

#include "sm.h"

/* ping, and a connection that nothing of ours touches */
void nic_is_ordinary(void);
/* The port fails as one whose interface is gone */
void port_is_gone(struct sm *sm);

#endif /* LIFE_H */
