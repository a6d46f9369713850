//! What `--help` shows below the options. Runs on the host.

pub(super) const INSTALL: &str = "\
Examples:
  runq-install --arch x86_64 --public-key runq.pub
      installs the bundle runq-*-x86_64.tar.zst that lies beside this program
  runq-install --arch x86_64 --public-key RWQ… --bundle /mnt/usb/runq-1.0.0-x86_64.tar.zst --dry-run
      verifies the bundle and shows what would change, daemon.json included
  runq-install --arch s390x --public-key runq.pub --bundle FILE --prefix /srv/image/var/lib/runq
      prepares the tree for a machine of another architecture; Docker is left alone

Exit codes:
  0 done or nothing to do, 1 verify found differences, 2 wrong usage, 125 failed";

pub(super) const ADOPT: &str = "\
Examples:
  cp -a /mnt/usb/runq /var/lib/ && /var/lib/runq/current/runq-install adopt
      verifies the copied tree, mends what the copy has lost, and registers it; nothing is fetched
  runq-install adopt --public-key runq.pub --no-docker
      the same with a key that was not compiled in, and without Docker";

pub(super) const VERIFY: &str = "\
Examples:
  runq-install verify --public-key runq.pub
      checks every file of the active version against its signed manifest
  runq-install verify --bundle runq-1.0.0-s390x.tar.zst --public-key runq.pub
      checks a bundle, of any architecture";

pub(super) const LIST: &str = "\
Examples:
  runq-install list
  runq-install list --json | jq -r '.facts'";

pub(super) const UNINSTALL: &str = "\
Examples:
  runq-install uninstall
      removes the entry of daemon.json that was added, and everything below the prefix";
