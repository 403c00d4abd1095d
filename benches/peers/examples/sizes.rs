use cachekit::{Backend,CacheBuilder,Intent,Key,backends::Redis};
fn main(){
 let redis=Redis::from_url("redis://127.0.0.1:1/0").unwrap();
 let key=Key::new("a",1u64).unwrap();
 println!("get {}",size_of_val(&redis.get(&key)));
 println!("set {}",size_of_val(&redis.set(&key,Default::default(),std::time::Duration::from_secs(1))));
 let keys=[key.clone()];
 println!("get_many {}",size_of_val(&redis.get_many(&keys)));
 println!("lease {}",size_of_val(&redis.lease(&key,std::time::Duration::from_secs(1))));
 println!("bus-ping {}",size_of_val(&redis.ping()));
 let c=CacheBuilder::new().backend(redis).intent(Intent::Production).l1_enabled(false).build().unwrap();
 println!("cache.get {}",size_of_val(&c.get::<u64>(1u64)));
 println!("cache.set {}",size_of_val(&c.set::<u64>(1u64,1)));
 println!("cache.goc {}",size_of_val(&c.get_or_compute::<u64,std::io::Error,_,_>(1u64,||async{Ok(1)})));
}
