-- What "npm run quickstart" runs. It may run again on the same database.
drop table if exists account;

create table account (
  id      int primary key,
  owner   text not null unique,
  balance numeric(12, 2) not null check (balance >= 0)
);

insert into account
select n, 'customer ' || n, 100
from generate_series(1, 1000) as n;

-- One transaction: it returns once two of three storage nodes have its log on disk.
begin;
update account set balance = balance - 25 where id = 1;
update account set balance = balance + 25 where id = 2;
commit;

select id, owner, balance from account order by id limit 3;
select count(*) as accounts, sum(balance) as total from account;
select version();
