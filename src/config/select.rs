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
    /// More than one of the three stores of one's own is named. An API key is no choice beside one of them: it serves
    /// [`Intent::Io`](crate::intent::Io), and has no effect on other caches. `REDIS_URL` is other programs' too, so it
    /// only counts where the four are not set.
    pub(super) fn of(vars: &Variables) -> Result<Option<Self>, Problem> {
        let stores = [
            (&vars.cachekit_redis_url, Self::Redis),
            (&vars.cachekit_memcached_servers, Self::Memcached),
            (&vars.cachekit_file_cache_dir, Self::File),
        ];
        let set: Vec<_> = stores.into_iter().filter(|(variable, _)| variable.is_set()).collect();
        match set.as_slice() {
            [] if vars.cachekit_api_key.is_set() => Ok(Some(Self::CachekitIo)),
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
