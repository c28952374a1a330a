begin;
insert into bare(payload) values ('{"n":1}');
insert into j(payload) values ('{"n":1}');
commit;
