//! Images of services for tests, made of Debian's packages: a database in the way of Docker's `postgres`, and systemd. On the host
//! as root; apt verifies the packages. Programs of the packages run in a chroot of the archive in the making, services do not.

use crate::docker::{Docker, LIMIT};
use crate::{command, images, report};
use anyhow::{Result, bail};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// What `docker-library/postgres` does, as far as a test needs it.
const ENTRYPOINT: &str = r#"#!/bin/sh
set -e
bin=$(echo /usr/lib/postgresql/*/bin)
export PATH="$bin:$PATH" PGDATA=/var/lib/postgresql/data
if [ "$1" = postgres ]; then
    if [ "$(id -u)" = 0 ]; then
        mkdir -p $PGDATA && chown postgres $PGDATA && chmod 700 $PGDATA
        exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
    fi
    if [ ! -s $PGDATA/PG_VERSION ]; then
        echo "$POSTGRES_PASSWORD" > /tmp/password
        initdb -D $PGDATA -U postgres --pwfile=/tmp/password -A scram-sha-256
        rm /tmp/password
        echo "host all all all scram-sha-256" >> $PGDATA/pg_hba.conf
    fi
    set -- "$@" -c listen_addresses=* -c unix_socket_directories=/tmp
fi
exec "$@"
"#;

/// Loads `postgres:alpine` unless the daemon has it. It is no Alpine: the name is that of the README's example.
///
/// # Errors
/// When it cannot be made or loaded.
pub fn load_postgres(docker: &Docker) -> Result<()> {
    let entrypoint = "ENTRYPOINT [\"/usr/local/bin/docker-entrypoint.sh\"]";
    load(
        docker,
        "postgres:alpine",
        &[entrypoint, "CMD [\"postgres\"]", "EXPOSE 5432", "VOLUME /var/lib/postgresql/data"],
    )
}

/// Loads `systemd` unless the daemon has it.
///
/// # Errors
/// When it cannot be made or loaded.
pub fn load_systemd(docker: &Docker) -> Result<()> {
    load(docker, "systemd", &["CMD [\"/sbin/init\"]"])
}

fn load(docker: &Docker, name: &str, changes: &[&str]) -> Result<()> {
    if images::is_loaded(docker, name) {
        return Ok(());
    }
    let archive = images::cached("services", make)?;
    let mut import = docker.command();
    import.arg("import");
    for change in changes {
        import.args(["--change", change]);
    }
    command::output(import.arg(archive).arg(name), LIMIT).map(drop)
}

fn make(rootfs: &Path) -> Result<()> {
    report::step("image with services: PostgreSQL and systemd of Debian");
    fs_err::create_dir_all(rootfs)?;
    command::show(
        Command::new("tar")
            .arg("--directory")
            .arg(rootfs)
            .arg("--extract")
            .arg("--file")
            .arg(images::debian()?),
    )?;
    let write = |path: &str, mode: u32, text: &str| -> Result<()> {
        let path = rootfs.join(path);
        if let Some(parent) = path.parent() {
            fs_err::create_dir_all(parent)?;
        }
        fs_err::write(&path, text)?;
        Ok(fs_err::set_permissions(&path, std::fs::Permissions::from_mode(mode))?)
    };
    // No service is started by its package, and no database is made.
    write("usr/sbin/policy-rc.d", 0o755, "#!/bin/sh\nexit 101\n")?;
    write("etc/postgresql-common/createcluster.conf", 0o644, "create_main_cluster = false\n")?;
    write("usr/local/bin/docker-entrypoint.sh", 0o755, ENTRYPOINT)?;
    fs_err::copy("/etc/resolv.conf", rootfs.join("etc/resolv.conf"))?;
    let script = "export DEBIAN_FRONTEND=noninteractive; apt-get -qq update && \
                  apt-get -qq install -y --no-install-recommends postgresql systemd systemd-sysv > /dev/null";
    let mut chroot = Command::new("chroot");
    let finished = command::run(
        chroot.arg(rootfs).args(["sh", "-c", script]),
        &[],
        std::time::Duration::from_secs(540),
    )?;
    if finished.code != 0 {
        bail!("cannot install the services: {}", finished.stderr_text());
    }
    fs_err::remove_file(rootfs.join("usr/sbin/policy-rc.d"))?;
    Ok(())
}
