// SPDX-License-Identifier: GPL-2.0
/*
 * module.c - stackmap.ko: loaded, or what modprobe would make of it
 *
 * libkmod is modprobe's own library: it finds the file in the index and reads what is in it.
 */
#include "doctor.h"

#include <libkmod.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include <stackmap_version.h>

struct found {
	char path[PATH_MAX];	/* "": not in the index */
	char vermagic[DOCTOR_LINE], version[64], srcversion[64], signer[DOCTOR_LINE];
	bool is_signed;
};

/* What keeps unsigned modules out */
struct boot {
	int secure;		/* -1: not known */
	bool enforced;
};

static void read_info(struct found *found, struct kmod_module *mod)
{
	struct kmod_list *list = NULL, *at;

	snprintf(found->path, sizeof(found->path), "%s", kmod_module_get_path(mod) ?: "");
	if (kmod_module_get_info(mod, &list) < 0)
		return;
	kmod_list_foreach(at, list) {
		const char *key = kmod_module_info_get_key(at), *value = kmod_module_info_get_value(at);

		if (!strcmp(key, "vermagic"))
			snprintf(found->vermagic, sizeof(found->vermagic), "%s", value);
		else if (!strcmp(key, "version"))
			snprintf(found->version, sizeof(found->version), "%s", value);
		else if (!strcmp(key, "srcversion"))
			snprintf(found->srcversion, sizeof(found->srcversion), "%s", value);
		else if (!strcmp(key, "sig_id"))
			found->is_signed = true;
		else if (!strcmp(key, "signer"))
			snprintf(found->signer, sizeof(found->signer), "%s", value);
	}
	kmod_module_info_free_list(list);
}

/* As modprobe finds it */
static void find(const struct doctor *d, struct found *found)
{
	static const char *const no_config;
	struct kmod_list *list = NULL;
	char dir[PATH_MAX];
	struct kmod_ctx *ctx;

	memset(found, 0, sizeof(*found));
	if (snprintf(dir, sizeof(dir), "%s/lib/modules/%s", d->root, d->release) >= (int)sizeof(dir))
		return;
	ctx = kmod_new(dir, *d->root ? &no_config : NULL);
	if (!ctx)
		return;
	kmod_set_log_priority(ctx, 0);
	if (!kmod_module_new_from_lookup(ctx, "stackmap", &list) && list) {
		struct kmod_module *mod = kmod_module_get_module(list);

		if (kmod_module_get_path(mod))
			read_info(found, mod);
		kmod_module_unref(mod);
	}
	kmod_module_unref_list(list);
	kmod_unref(ctx);
}

static struct boot read_boot(const struct doctor *d)
{
	char path[PATH_MAX], line[DOCTOR_LINE];
	struct boot boot = { .secure = -1 };
	unsigned char efi[5];
	FILE *f;

	if (!doctor_exists(d, "/sys/firmware/efi"))
		boot.secure = 0;
	/* Four bytes of attributes, and the value */
	snprintf(path, sizeof(path), "%s/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c",
		 d->root);
	f = fopen(path, "re");
	if (f) {
		if (fread(efi, 1, sizeof(efi), f) == sizeof(efi))
			boot.secure = efi[4] == 1;
		fclose(f);
	}
	if (doctor_line(d, line, sizeof(line), "/sys/module/module/parameters/sig_enforce"))
		boot.enforced = *line == 'Y';
	if (doctor_line(d, line, sizeof(line), "/sys/kernel/security/lockdown"))
		boot.enforced |= !strstr(line, "[none]");
	else
		/* Debian's kernels lock down where Secure Boot is on */
		boot.enforced |= boot.secure == 1;
	return boot;
}

static void say_loaded(const struct doctor *d, struct doctor_part *p, const struct found *found)
{
	char version[64] = "", srcversion[64] = "";

	doctor_line(d, version, sizeof(version), "/sys/module/stackmap/version");
	doctor_line(d, srcversion, sizeof(srcversion), "/sys/module/stackmap/srcversion");
	if (strcmp(version, STACKMAP_VERSION)) {
		doctor_say(p, DOCTOR_WARN, "module", "loaded is version %s, and this is stackmap " STACKMAP_VERSION,
			   *version ? version : "?");
		doctor_remedy(p, "end its owners, then: modprobe -r stackmap && modprobe stackmap");
	} else if (*found->srcversion && *srcversion && strcmp(found->srcversion, srcversion)) {
		doctor_say(p, DOCTOR_WARN, "module", "loaded is another build than %s", found->path);
		doctor_remedy(p, "end its owners, then: modprobe -r stackmap && modprobe stackmap");
	} else {
		doctor_say(p, DOCTOR_OK, "module", "loaded, version %s", version);
	}
}

/* Whether the kernel would take it for its own, signatures apart */
static bool say_vermagic(const struct doctor *d, struct doctor_part *p, const struct found *found)
{
	size_t len = strcspn(found->vermagic, " ");
	bool crcs;

	if (!*found->vermagic) {
		doctor_say(p, DOCTOR_FAIL, "module", "%s is no kernel module", found->path);
		doctor_remedy(p, "install it again: make install, or the package stackmap-dkms");
		return false;
	}
	if (len == strlen(d->release) && !strncmp(found->vermagic, d->release, len))
		return true;
	/* With checksums of symbols the release does not count (same_magic() in kernel/module/version.c) */
	crcs = strstr(found->vermagic, " modversions");
	doctor_say(p, crcs ? DOCTOR_WARN : DOCTOR_FAIL, "module", "%s was built for %.*s: it %s", found->path,
		   (int)len, found->vermagic, crcs ? "may not load" : "does not load");
	doctor_remedy(p, "build it for this kernel: dkms autoinstall, or make install");
	return crcs;
}

static void say_loadable(const struct doctor *d, struct doctor_part *p, const struct found *found)
{
	long disabled = 0;

	if (!*found->path) {
		doctor_say(p, DOCTOR_FAIL, "module", "not loaded, and not installed for this kernel");
		doctor_remedy(p, "apt-get install stackmap-dkms, or make install in its sources (and depmod)");
		return;
	}
	if (!say_vermagic(d, p, found))
		return;
	doctor_number(d, &disabled, "/proc/sys/kernel/modules_disabled");
	if (disabled) {
		doctor_say(p, DOCTOR_FAIL, "module", "not loaded, and this kernel loads no more modules");
		doctor_remedy(p, "load it before kernel.modules_disabled is set; reboot");
		return;
	}
	doctor_say(p, DOCTOR_FAIL, "module", "not loaded; it is installed: %s", found->path + strlen(d->root));
	doctor_remedy(p, "modprobe stackmap (at each boot: echo stackmap >/etc/modules-load.d/stackmap.conf)");
}

static void say_boot(const struct doctor *d, struct doctor_part *p, const struct found *found, const struct boot *boot)
{
	const char *state = boot->secure < 0 ? "not known" : boot->secure ? "on" : "off";

	if (!boot->enforced || d->loaded) {
		doctor_say(p, DOCTOR_OK, "secure boot", "%s; %s", state, boot->enforced ?
			   "only signed modules load, and this one has" : "modules need no signature");
	} else if (!*found->path) {
		doctor_say(p, DOCTOR_WARN, "secure boot", "%s; only signed modules load", state);
		doctor_remedy(p, "have the module signed: DKMS does it with a key that mokutil --import enrolls");
	} else if (found->is_signed) {
		doctor_say(p, DOCTOR_WARN, "secure boot", "%s; only signed modules load: this one does if the key of"
			   " '%s' is enrolled", state, *found->signer ? found->signer : "?");
		doctor_remedy(p, "mokutil --list-enrolled shows the keys, mokutil --import KEY.der adds one at the next boot");
	} else {
		doctor_say(p, DOCTOR_FAIL, "secure boot", "%s; only signed modules load, and %s is not signed", state,
			   found->path + strlen(d->root));
		doctor_remedy(p, "sign it (DKMS does, with /var/lib/dkms/mok.key), and enroll the key:"
			      " mokutil --import /var/lib/dkms/mok.pub, then reboot");
	}
}

void doctor_module(struct doctor *d, struct doctor_part *p)
{
	struct boot boot = read_boot(d);
	char line[DOCTOR_LINE];
	struct found found;

	d->loaded = doctor_exists(d, "/sys/module/stackmap");
	d->any_driver = doctor_line(d, line, sizeof(line), "/sys/module/stackmap/parameters/any_driver") && *line == 'Y';
	find(d, &found);
	doctor_fact(p, "module_loaded", json_boolean(d->loaded));
	doctor_fact(p, "module_installed", json_boolean(*found.path));
	doctor_fact(p, "module_signed", *found.path ? json_boolean(found.is_signed) : json_null());
	doctor_fact(p, "secure_boot", boot.secure < 0 ? json_null() : json_boolean(boot.secure));
	if (d->loaded)
		say_loaded(d, p, &found);
	else
		say_loadable(d, p, &found);
	say_boot(d, p, &found, &boot);
	if (d->any_driver) {
		doctor_say(p, DOCTOR_WARN, "any_driver", "set: NICs whose driver was not looked at are owned, too");
		doctor_remedy(p, "echo N >/sys/module/stackmap/parameters/any_driver");
	}
}
