//! Which backend the environment selects.

use super::problem::{Fault, Problem};
use super::variables::Variables;

/// A backend named by the environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Selection {
    Redis,
    Memcached,
    File,
    CachekitIo,
}

impl Selection {
    /// What the variables select; `None` means that none does, and Redis at its default URL is the default.
    ///
    /// # Errors
    /// More than one prefixed selector is set. `REDIS_URL` is other programs' too, so it only counts where none is.
    pub(super) fn of(vars: &Variables) -> Result<Option<Self>, Problem> {
        let selectors = [
            (&vars.cachekit_api_key, Self::CachekitIo),
            (&vars.cachekit_redis_url, Self::Redis),
            (&vars.cachekit_memcached_servers, Self::Memcached),
            (&vars.cachekit_file_cache_dir, Self::File),
        ];
        let set: Vec<_> = selectors.into_iter().filter(|(variable, _)| variable.is_set()).collect();
        match set.as_slice() {
            [] => Ok(vars.redis_url.is_set().then_some(Self::Redis)),
            [(_, selection)] => Ok(Some(*selection)),
            several => {
                let names: Vec<&str> = several.iter().map(|(variable, _)| variable.name).collect();
                let fix = "unset all but one, or name the backend with the builder's backend()";
                Err(Problem::new(names.join(", "), Fault::new("only one of these may select the backend", fix)))
            }
        }
    }
}
