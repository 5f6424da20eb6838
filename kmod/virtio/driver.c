// SPDX-License-Identifier: GPL-2.0
/*
 * driver.c - which devices the virtio driver takes
 *
 * The driver takes no device by itself: the distribution's virtio_net keeps all
 * it has. A user names a device in the driver's "claim" attribute, unbinds it
 * from virtio_net and binds it here (`stackmap bind` does these steps); only
 * then the driver matches network devices, and takes the one that was named.
 */
#include <linux/if_ether.h>
#include <linux/module.h>
#include <linux/virtio_config.h>
#include <uapi/linux/virtio_ids.h>

#include "virtio.h"

/* The device that the user wants this driver to have, by its name on the bus */
static char sm_virtio_claimed[32];
static DEFINE_MUTEX(sm_virtio_claimed_mutex);

/*
 * The bus asks no more of a driver than this table whether it wants a device, and a
 * device that was offered to it and refused is left FAILED for the next one. So
 * the table is empty but while a device is claimed. virtio_dev_match() reads it
 * anew each time, up to the first entry without a device id.
 */
static struct virtio_device_id sm_virtio_ids[] = {
	{ 0, VIRTIO_DEV_ANY_ID },
	{ 0 }
};

/* With sm_virtio_claimed_mutex held. "" is nobody */
static void sm_virtio_set_claim(const char *name)
{
	strscpy(sm_virtio_claimed, name, sizeof(sm_virtio_claimed));
	WRITE_ONCE(sm_virtio_ids[0].device, *name ? VIRTIO_ID_NET : 0);
}

/* Whether this is the device that was claimed: it is no more, whatever becomes of it */
static bool sm_virtio_use_claim(const struct virtio_device *vdev)
{
	bool ours;

	mutex_lock(&sm_virtio_claimed_mutex);
	ours = !strcmp(sm_virtio_claimed, dev_name(&vdev->dev));
	if (ours)
		sm_virtio_set_claim("");
	mutex_unlock(&sm_virtio_claimed_mutex);
	return ours;
}

static int sm_virtio_probe(struct virtio_device *vdev)
{
	return sm_virtio_use_claim(vdev) ? sm_virtio_setup(vdev) : -ENODEV;
}

static struct virtio_driver sm_virtio_driver;

/*
 * While one device is claimed another may be offered, and setting up may fail. The core sets
 * FAILED then, and only a reset clears it, which no driver does before it begins: so
 * it is done here, as after remove(). The core tells the bus of it with dev->driver
 * still set, in really_probe().
 */
static int sm_virtio_bus_event(struct notifier_block *nb, unsigned long event, void *data)
{
	struct device *device = data;

	if (event == BUS_NOTIFY_DRIVER_NOT_BOUND && device->driver == &sm_virtio_driver.driver) {
		struct virtio_device *vdev = dev_to_virtio(device);

		virtio_reset_device(vdev);
		virtio_add_status(vdev, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	}
	return NOTIFY_OK;
}

static struct notifier_block sm_virtio_bus_notifier = {
	.notifier_call = sm_virtio_bus_event,
};

/* The one that the next probe() may take: echo virtio0 > .../claim; none: nobody */
static ssize_t claim_store(struct device_driver *drv, const char *buf, size_t count)
{
	char name[sizeof(sm_virtio_claimed)];
	struct device *device;

	if (strscpy(name, buf, sizeof(name)) < 0)
		return -ENODEV;
	if (!strcmp(strim(name), "none"))
		*name = 0;
	if (*name) {
		device = bus_find_device_by_name(drv->bus, NULL, name);
		if (!device)
			return -ENODEV;
		put_device(device);
	}
	mutex_lock(&sm_virtio_claimed_mutex);
	sm_virtio_set_claim(name);
	mutex_unlock(&sm_virtio_claimed_mutex);
	return count;
}

static ssize_t claim_show(struct device_driver *drv, char *buf)
{
	int n;

	mutex_lock(&sm_virtio_claimed_mutex);
	n = sysfs_emit(buf, "%s\n", *sm_virtio_claimed ? sm_virtio_claimed : "none");
	mutex_unlock(&sm_virtio_claimed_mutex);
	return n;
}
static DRIVER_ATTR_RW(claim);

static struct attribute *sm_virtio_attrs[] = {
	&driver_attr_claim.attr,
	NULL
};
ATTRIBUTE_GROUPS(sm_virtio);

/*
 * Guest TSO needs CTRL_GUEST_OFFLOADS only to be changed at run time. Without
 * mergeable buffers a large packet would not fit: validate() drops it then.
 */
static const unsigned int sm_virtio_features[] = {
	VIRTIO_NET_F_CSUM, VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_MAC,
	VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_HOST_TSO6, VIRTIO_NET_F_HOST_ECN,
	VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_GUEST_TSO6, VIRTIO_NET_F_GUEST_ECN,
	VIRTIO_NET_F_MRG_RXBUF, VIRTIO_NET_F_STATUS, VIRTIO_NET_F_CTRL_VQ,
	VIRTIO_NET_F_MQ, VIRTIO_NET_F_CTRL_MAC_ADDR, VIRTIO_NET_F_MTU,
};

static int sm_virtio_validate(struct virtio_device *vdev)
{
	if (!virtio_has_feature(vdev, VIRTIO_NET_F_MRG_RXBUF)) {
		__virtio_clear_bit(vdev, VIRTIO_NET_F_GUEST_TSO4);
		__virtio_clear_bit(vdev, VIRTIO_NET_F_GUEST_TSO6);
		__virtio_clear_bit(vdev, VIRTIO_NET_F_GUEST_ECN);
	}
	if (!virtio_has_feature(vdev, VIRTIO_NET_F_CTRL_VQ)) {
		__virtio_clear_bit(vdev, VIRTIO_NET_F_MQ);
		__virtio_clear_bit(vdev, VIRTIO_NET_F_CTRL_MAC_ADDR);
	}
	/* An MTU that is none, or for which receive buffers are too small: not promised */
	if (virtio_has_feature(vdev, VIRTIO_NET_F_MTU) && vdev->config->get &&
	    (sm_virtio_config_mtu(vdev) < ETH_MIN_MTU ||
	     sm_virtio_config_mtu(vdev) > sm_virtio_max_mtu(vdev)))
		__virtio_clear_bit(vdev, VIRTIO_NET_F_MTU);
	return 0;
}

static struct virtio_driver sm_virtio_driver = {
	.feature_table = sm_virtio_features,
	.feature_table_size = ARRAY_SIZE(sm_virtio_features),
	.driver.name = "stackmap_virtio",
	.driver.groups = sm_virtio_groups,
	.id_table = sm_virtio_ids,
	.validate = sm_virtio_validate,
	.probe = sm_virtio_probe,
	.remove = sm_virtio_remove,
	.config_changed = sm_virtio_config_changed,
#ifdef CONFIG_PM_SLEEP
	.freeze = sm_virtio_freeze,
	.restore = sm_virtio_restore,
#endif
};

int sm_virtio_init(void)
{
	int err;

	/* Which sets the bus. Nobody claims a device before all is there */
	mutex_lock(&sm_virtio_claimed_mutex);
	err = register_virtio_driver(&sm_virtio_driver);
	if (err) {
		mutex_unlock(&sm_virtio_claimed_mutex);
		return err;
	}
	err = bus_register_notifier(sm_virtio_driver.driver.bus, &sm_virtio_bus_notifier);
	mutex_unlock(&sm_virtio_claimed_mutex);
	/* This waits for those who are about to claim */
	if (err)
		unregister_virtio_driver(&sm_virtio_driver);
	return err;
}

void sm_virtio_exit(void)
{
	unregister_virtio_driver(&sm_virtio_driver);
	bus_unregister_notifier(sm_virtio_driver.driver.bus, &sm_virtio_bus_notifier);
}
