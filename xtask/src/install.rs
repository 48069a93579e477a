//! `cargo xtask install`: the library as C programs and distributions expect it: header, static and shared library,
//! pkg-config file and CMake package.
//!
//! What cargo builds is linked once more: into one object whose only global symbols are those of
//! `ffi/package/symbols.txt`, so that Rust's own cannot meet another Rust library's, and from that into a shared
//! library whose symbols carry a version.

use core::time::Duration;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::packages::{self, CC, OBJDUMP};
use crate::{process, workspace};

/// How long one program of the toolchain may take, cargo with everything to be built included.
const LIMIT: Duration = Duration::from_secs(1200);

const MAJOR: &str = env!("CARGO_PKG_VERSION_MAJOR");
const MINOR: &str = env!("CARGO_PKG_VERSION_MINOR");
const VERSION: &str = env!("CARGO_PKG_VERSION");

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Where the library will be used
    #[arg(long, default_value = "/usr/local")]
    prefix: PathBuf,
    /// Install below this directory, for a package to be made of it
    #[arg(long)]
    destdir: Option<PathBuf>,
    /// Build for this target of Rust's; one with musl has a static library only
    #[arg(long)]
    target: Option<String>,
    /// Build with this profile of cargo's
    #[arg(long, default_value = "release")]
    profile: String,
}

/// Builds the library and installs it.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    packages::require(&[CC, OBJDUMP])?;
    let installation = Installation::new(arguments)?;
    let archive = build(arguments)?;
    let object = installation.link_into_one(&archive)?;
    installation.static_library(&object)?;
    if installation.musl.is_none() {
        installation.shared_library(&object)?;
    }
    installation.texts()?;
    println!("installed below {}", installation.root.display());
    Ok(ExitCode::SUCCESS)
}

/// Builds the static library with cargo, and says where it is.
fn build(arguments: &Arguments) -> Result<PathBuf> {
    let mut cargo = Command::new(workspace::cargo());
    cargo.args(["build", "--quiet", "--package", "portolan-ffi", "--lib"]);
    cargo.args(["--profile", &arguments.profile]);
    let mut built = workspace::target();
    if let Some(target) = &arguments.target {
        cargo.args(["--target", target]);
        built.push(target);
    }
    run_quietly(cargo.current_dir(workspace::root()))?;
    let directory = match arguments.profile.as_str() {
        "dev" => "debug",
        other => other,
    };
    Ok(built.join(directory).join("libportolan.a"))
}

/// Where things go.
struct Installation {
    prefix: PathBuf,
    /// The prefix, below DESTDIR.
    root: PathBuf,
    /// Where things are put together.
    work: PathBuf,
    symbols: Vec<String>,
    /// Rust's unwinder, which a musl archive needs beside it; `None` with glibc.
    musl: Option<PathBuf>,
}

impl Installation {
    fn new(arguments: &Arguments) -> Result<Self> {
        let prefix = arguments.prefix.clone();
        let root = match &arguments.destdir {
            Some(directory) => directory.join(prefix.strip_prefix("/").unwrap_or(&prefix)),
            None => prefix.clone(),
        };
        let host = "host";
        let target = arguments.target.as_deref().unwrap_or(host);
        let work = workspace::target().join("install").join(target);
        for directory in ["include", "lib/pkgconfig", "lib/cmake/portolan"] {
            fs::create_dir_all(root.join(directory))
                .with_context(|| format!("creating {directory} below {}", root.display()))?;
        }
        fs::create_dir_all(&work)?;
        let symbols = fs::read_to_string(file("ffi/package/symbols.txt"))?;
        Ok(Self {
            prefix,
            root,
            work,
            symbols: symbols.lines().map(str::to_owned).collect(),
            musl: target
                .contains("musl")
                .then(|| unwinder(target))
                .transpose()?,
        })
    }

    /// One object of all that the agreed symbols need, and no other global symbol.
    fn link_into_one(&self, archive: &Path) -> Result<PathBuf> {
        let (object, list) = (self.work.join("portolan.o"), self.work.join("symbols"));
        fs::write(&list, self.symbols.join("\n"))?;
        let mut link = Command::new("ld");
        link.args(["-r", "-o"]).arg(&object);
        link.args(self.symbols.iter().flat_map(|symbol| ["-u", symbol]));
        run_quietly(link.arg(archive))?;
        let mut hide = Command::new("objcopy");
        // Rust's own libraries carry their bitcode along.
        hide.args(["--strip-debug", "-R", ".llvmbc", "-R", ".llvmcmd"]);
        hide.arg("--keep-global-symbols").arg(&list);
        run_quietly(hide.arg(&object))?;
        Ok(object)
    }

    fn static_library(&self, object: &Path) -> Result<()> {
        let archive = self.root.join("lib/libportolan.a");
        // `ar` would add to one that is there.
        let _ = fs::remove_file(&archive);
        run_quietly(Command::new("ar").arg("rcsD").arg(archive).arg(object))?;
        if let Some(unwinder) = &self.musl {
            fs::copy(unwinder, self.root.join("lib/libunwind.a"))?;
        }
        Ok(())
    }

    fn shared_library(&self, object: &Path) -> Result<()> {
        let (name, soname) = (format!("libportolan.so.{VERSION}"), soname());
        let script = self.work.join("versions");
        let symbols = self.symbols.join("; ");
        let node = format!("PORTOLAN_{MAJOR}.{MINOR} {{ global: {symbols}; local: *; }};\n");
        fs::write(&script, node)?;
        let library = self.root.join("lib").join(&name);
        let mut link = Command::new("cc");
        link.args(["-shared", "-o"]).arg(&library).arg(object);
        link.arg(format!("-Wl,-soname,{soname}"));
        link.arg(format!("-Wl,--version-script={}", script.display()));
        link.args(["-Wl,--gc-sections", "-Wl,-z,relro,-z,now,-z,defs"]);
        run_quietly(link.args(["-lgcc_s"]).args(self.libraries()))?;
        for (link, to) in [(soname.as_str(), &name), ("libportolan.so", &soname)] {
            let link = self.root.join("lib").join(link);
            let _ = fs::remove_file(&link);
            symlink(to, &link).with_context(|| format!("linking {}", link.display()))?;
        }
        Ok(())
    }

    /// Header, pkg-config file, CMake package.
    fn texts(&self) -> Result<()> {
        fs::copy(
            file("include/portolan.h"),
            self.root.join("include/portolan.h"),
        )?;
        let libraries = self.libraries();
        let settings = [
            ("@PREFIX@", self.prefix.display().to_string()),
            ("@VERSION@", VERSION.to_owned()),
            ("@MAJOR@", MAJOR.to_owned()),
            ("@MINOR@", MINOR.to_owned()),
            ("@SONAME@", soname()),
            ("@LIBRARIES@", libraries.join(" ")),
            ("@LIBRARY_LIST@", libraries.join(";")),
        ];
        for (name, directory) in [
            ("portolan.pc", "lib/pkgconfig"),
            ("portolan-config.cmake", "lib/cmake/portolan"),
            ("portolan-config-version.cmake", "lib/cmake/portolan"),
        ] {
            let mut text = fs::read_to_string(file("ffi/package").join(format!("{name}.in")))?;
            for (place, value) in &settings {
                text = text.replace(place, value);
            }
            fs::write(self.root.join(directory).join(name), text)?;
        }
        Ok(())
    }

    /// What a static link needs besides, as `rustc --print native-static-libs` says, but what C compilers add
    /// themselves (`-lgcc_s`, which there is no static form of, and `-lc`).
    fn libraries(&self) -> Vec<&'static str> {
        if self.musl.is_some() {
            vec!["-lunwind"]
        } else {
            vec!["-lutil", "-lrt", "-lpthread", "-lm", "-ldl"]
        }
    }
}

/// The name that programs ask the shared library by. Before 1.0 each minor version is an ABI of its own.
fn soname() -> String {
    format!("libportolan.so.{MAJOR}.{MINOR}")
}

/// Rust's own libunwind for a musl target.
fn unwinder(target: &str) -> Result<PathBuf> {
    let mut rustc = Command::new("rustc");
    rustc.args(["--print", "target-libdir", "--target", target]);
    let directory = process::run(&mut rustc, "", LIMIT)?;
    let path = Path::new(directory.trim()).join("self-contained/libunwind.a");
    fs::metadata(&path)
        .with_context(|| format!("{}: rustup target add {target}", path.display()))?;
    Ok(path)
}

fn file(path: &str) -> PathBuf {
    workspace::root().join(path)
}

fn run_quietly(command: &mut Command) -> Result<()> {
    process::run(command, "", LIMIT).map(drop)
}
