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
  0 done or nothing to do; 1 verify found differences, or doctor failures; 2 wrong usage; 3 dockerd refused the configuration, which is as
  before; 4 another installer is at work; 5 containers use it; 125 failed otherwise";

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
  runq-install verify --version 1.0.0-0a1b2c3d --public-key runq.pub
      the same for another one of runq-install list, before a rollback to it
  runq-install verify --bundle runq-1.0.0-s390x.tar.zst --public-key runq.pub
      checks a bundle, of any architecture";

pub(super) const LIST: &str = "\
Examples:
  runq-install list
  runq-install list --json | jq -r '.versions[].id'";

pub(super) const ROLLBACK: &str = "\
Examples:
  runq-install rollback
      activates the version before; running containers keep theirs, new ones get this
  runq-install rollback --to 1.0.0-0a1b2c3d
      activates that one of runq-install list";

pub(super) const GC: &str = "\
Examples:
  runq-install gc --dry-run
      shows what would be removed, what stays, and why
  runq-install gc --all
      removes the version before the active one, too";

pub(super) const EXPORT: &str = "\
Examples:
  runq-install export -o /mnt/usb
      writes the bundle of the active version, the same bytes as it came in";

pub(super) const PULL: &str = "\
Examples:
  runq-install pull oci://registry.example.com/runq:1.0.0 --arch s390x -o /mnt/usb
      fetches the bundle for that architecture, on whatever machine this is, and verifies it
  runq-install pull https://example.com/runq-1.0.0-x86_64.tar.zst --public-key runq.pub
      takes up an interrupted download where it broke; HTTPS_PROXY and NO_PROXY are obeyed";

pub(super) const REGISTER: &str = "\
Examples:
  runq-install register --name runq-big --runtime-arg --mem --runtime-arg 4096
      a second runtime of the same tree, with other settings
  runq-install register --set-default
      docker run without --runtime takes runq; unregister brings the former default back
  runq-install register --engine podman
      podman run --runtime runq; --engine containerd writes what its CRI plugin reads";

pub(super) const UNREGISTER: &str = "\
Examples:
  runq-install unregister --dry-run
      shows what daemon.json would lose
  runq-install unregister --name runq-big
      leaves the other runtimes";

pub(super) const DOCTOR: &str = "\
Examples:
  runq-install doctor
      fails with exit code 1 when containers would not run
  runq-install doctor --json | jq -r '.checks[] | select(.verdict != \"ok\") | .name + \": \" + .mend'
      what there is to do";

pub(super) const UNINSTALL: &str = "\
Examples:
  runq-install uninstall
      removes the entry of daemon.json that was added, and everything below the prefix
  runq-install uninstall --force
      does so although containers use it, and says what becomes of them";

pub(super) const DOCUMENTS: &str = "\
Examples:
  runq-install documents /usr/local/share/runq";
