#define rand	pan_rand
#define pthread_equal(a,b)	((a)==(b))
#if defined(HAS_CODE) && defined(VERBOSE)
	#ifdef BFS_PAR
		bfs_printf("Pr: %d Tr: %d\n", II, t->forw);
	#else
		cpu_printf("Pr: %d Tr: %d\n", II, t->forw);
	#endif
#endif
	switch (t->forw) {
	default: Uerror("bad forward move");
	case 0:	/* if without executable clauses */
		continue;
	case 1: /* generic 'goto' or 'skip' */
		IfNotBlocked
		_m = 3; goto P999;
	case 2: /* generic 'else' */
		IfNotBlocked
		if (trpt->o_pm&1) continue;
		_m = 3; goto P999;

		 /* PROC World */
	case 3: // STATE 14 - world.pml:142 - [D_STEP142]
		IfNotBlocked

		reached[1][14] = 1;
		reached[1][t->st] = 1;
		reached[1][tt] = 1;

		if (TstOnly) return 1;

		sv_save();
		S_623_0: /* 2 */
		((P1 *)_this)->i = 0;
#ifdef VAR_RANGES
		logval("World:i", ((int)((P1 *)_this)->i));
#endif
		;
S_633_0: /* 2 */
S_632_0: /* 2 */
S_624_0: /* 2 */
		if (!((((int)((P1 *)_this)->i)<=(2-1))))
			goto S_632_1;
S_625_0: /* 2 */
		now.joined = (((int)now.joined)+1);
#ifdef VAR_RANGES
		logval("joined", ((int)now.joined));
#endif
		;
S_626_0: /* 2 */
		now.self[ Index(((P1 *)_this)->i, 2) ] = ((int)now.joined);
#ifdef VAR_RANGES
		logval("self[World:i]", ((int)now.self[ Index(((int)((P1 *)_this)->i), 2) ]));
#endif
		;
S_627_0: /* 2 */
		now.member[ Index(now.joined, 4) ] = 1;
#ifdef VAR_RANGES
		logval("member[joined]", ((int)now.member[ Index(((int)now.joined), 4) ]));
#endif
		;
S_628_0: /* 2 */
		now.lease[ Index(((P1 *)_this)->i, 2) ] = 2;
#ifdef VAR_RANGES
		logval("lease[World:i]", ((int)now.lease[ Index(((int)((P1 *)_this)->i), 2) ]));
#endif
		;
S_629_0: /* 2 */
		((P1 *)_this)->i = (((int)((P1 *)_this)->i)+1);
#ifdef VAR_RANGES
		logval("World:i", ((int)((P1 *)_this)->i));
#endif
		;
		goto S_633_0; /* ';' */
S_632_1: /* 3 */
S_630_0: /* 2 */
		/* else */;
S_631_0: /* 2 */
		goto S_634_0;	/* 'goto' */
S_632_2: /* 3 */
		Uerror("blocking sel in d_step (nr.0, near line 145)");
S_634_0: /* 2 */
		goto S_635_0;	/* 'break' */
S_635_0: /* 2 */
		((P1 *)_this)->i = 0;
#ifdef VAR_RANGES
		logval("World:i", ((int)((P1 *)_this)->i));
#endif
		;
		goto S_647_0;
S_647_0: /* 1 */

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
		_m = 3; goto P999;

	case 4: // STATE 15 - world.pml:148 - [i = 0] (0:0:1 - 1)
		IfNotBlocked
		reached[1][15] = 1;
		(trpt+1)->bup.oval = ((int)((P1 *)_this)->i);
		((P1 *)_this)->i = 0;
#ifdef VAR_RANGES
		logval("World:i", ((int)((P1 *)_this)->i));
#endif
		;
		_m = 3; goto P999; /* 0 */
	case 5: // STATE 16 - world.pml:148 - [((i<=(2-1)))] (0:0:0 - 1)
		IfNotBlocked
		reached[1][16] = 1;
		if (!((((int)((P1 *)_this)->i)<=(2-1))))
			continue;
		_m = 3; goto P999; /* 0 */
	case 6: // STATE 17 - world.pml:148 - [(run Node(i))] (0:0:0 - 1)
		IfNotBlocked
		reached[1][17] = 1;
		if (!(addproc(II, 1, 0, ((int)((P1 *)_this)->i))))
			continue;
		_m = 3; goto P999; /* 0 */
	case 7: // STATE 18 - world.pml:148 - [i = (i+1)] (0:0:1 - 1)
		IfNotBlocked
		reached[1][18] = 1;
		(trpt+1)->bup.oval = ((int)((P1 *)_this)->i);
		((P1 *)_this)->i = (((int)((P1 *)_this)->i)+1);
#ifdef VAR_RANGES
		logval("World:i", ((int)((P1 *)_this)->i));
#endif
		;
		_m = 3; goto P999; /* 0 */
	case 8: // STATE 24 - world.pml:148 - [i = 0] (0:0:1 - 1)
		IfNotBlocked
		reached[1][24] = 1;
		(trpt+1)->bup.oval = ((int)((P1 *)_this)->i);
		((P1 *)_this)->i = 0;
#ifdef VAR_RANGES
		logval("World:i", ((int)((P1 *)_this)->i));
#endif
		;
		_m = 3; goto P999; /* 0 */
	case 9: // STATE 65 - world.pml:155 - [D_STEP155]
		if (!(boq == -1 && ((((int)now.settled)||((((int)now.hold)+1)!=3))|| !(((((((((int)now.mode[0])==0)&& !(((int)now.lost[0])))&& !(((int)now.slow[0])))&& !((((int)now.known_generation[0])==((int)now.generation))))&&(((int)now.reassertion[0])!=2))||(((((((int)now.mode[1])==0)&& !(((int)now.lost[1])))&& !(((int)now.slow[1])))&& !((((int)now.known_generation[1])==((int)now.generation))))&&(((int)now.reassertion[1])!=2)))))))
			continue;

		reached[1][65] = 1;
		reached[1][t->st] = 1;
		reached[1][tt] = 1;

		if (TstOnly) return 1;

		sv_save();
		S_648_0: /* 2 */
		if (!(((((int)now.settled)||((((int)now.hold)+1)!=3))|| !(((((((((int)now.mode[0])==0)&& !(((int)now.lost[0])))&& !(((int)now.slow[0])))&& !((((int)now.known_generation[0])==((int)now.generation))))&&(((int)now.reassertion[0])!=2))||(((((((int)now.mode[1])==0)&& !(((int)now.lost[1])))&& !(((int)now.slow[1])))&& !((((int)now.known_generation[1])==((int)now.generation))))&&(((int)now.reassertion[1])!=2)))))))
			Uerror("block in d_step seq");
S_685_0: /* 2 */
S_649_0: /* 2 */
		((P1 *)_this)->i = 0;
#ifdef VAR_RANGES
		logval("World:i", ((int)((P1 *)_this)->i));
#endif
		;
S_665_0: /* 2 */
S_664_0: /* 2 */
S_650_0: /* 2 */
		if (!((((int)((P1 *)_this)->i)<=(2-1))))
			goto S_664_1;
S_654_0: /* 2 */
S_651_0: /* 2 */
		if (!((((int)now.lease[ Index(((int)((P1 *)_this)->i), 2) ])>0)))
			goto S_654_1;
S_652_0: /* 2 */
		now.lease[ Index(((P1 *)_this)->i, 2) ] = (((int)now.lease[ Index(((int)((P1 *)_this)->i), 2) ])-1);
#ifdef VAR_RANGES
		logval("lease[World:i]", ((int)now.lease[ Index(((int)((P1 *)_this)->i), 2) ]));
#endif
		;
		goto S_655_0;
S_654_1: /* 3 */
S_653_0: /* 2 */
		/* else */;
		goto S_655_0;
S_654_2: /* 3 */
		Uerror("blocking sel in d_step (nr.1, near line 114)");
S_655_0: /* 2 */
S_659_0: /* 2 */
S_656_0: /* 2 */
		if (!(((((int)now.renewal[ Index(((int)((P1 *)_this)->i), 2) ])!=0)&&(((int)now.renewal_age[ Index(((int)((P1 *)_this)->i), 2) ])<2))))
			goto S_659_1;
S_657_0: /* 2 */
		now.renewal_age[ Index(((P1 *)_this)->i, 2) ] = (((int)now.renewal_age[ Index(((int)((P1 *)_this)->i), 2) ])+1);
#ifdef VAR_RANGES
		logval("renewal_age[World:i]", ((int)now.renewal_age[ Index(((int)((P1 *)_this)->i), 2) ]));
#endif
		;
		goto S_660_0;
S_659_1: /* 3 */
S_658_0: /* 2 */
		/* else */;
		goto S_660_0;
S_659_2: /* 3 */
		Uerror("blocking sel in d_step (nr.2, near line 118)");
S_660_0: /* 2 */
S_661_0: /* 2 */
		((P1 *)_this)->i = (((int)((P1 *)_this)->i)+1);
#ifdef VAR_RANGES
		logval("World:i", ((int)((P1 *)_this)->i));
#endif
		;
		goto S_665_0; /* ';' */
S_664_1: /* 3 */
S_662_0: /* 2 */
		/* else */;
S_663_0: /* 2 */
		goto S_667_0;	/* 'goto' */
S_664_2: /* 3 */
		Uerror("blocking sel in d_step (nr.3, near line 126)");
S_666_0: /* 2 */
		goto S_667_0;	/* 'break' */
S_667_0: /* 2 */
		((P1 *)_this)->i = 1;
#ifdef VAR_RANGES
		logval("World:i", ((int)((P1 *)_this)->i));
#endif
		;
S_678_0: /* 2 */
S_677_0: /* 2 */
S_668_0: /* 2 */
		if (!((((int)((P1 *)_this)->i)<=3)))
			goto S_677_1;
S_672_0: /* 2 */
S_669_0: /* 2 */
		if (!(((((int)now.member[ Index(((int)((P1 *)_this)->i), 4) ])==1)&&(((int)now.quiet[ Index(((int)((P1 *)_this)->i), 4) ])<3))))
			goto S_672_1;
S_670_0: /* 2 */
		now.quiet[ Index(((P1 *)_this)->i, 4) ] = (((int)now.quiet[ Index(((int)((P1 *)_this)->i), 4) ])+1);
#ifdef VAR_RANGES
		logval("quiet[World:i]", ((int)now.quiet[ Index(((int)((P1 *)_this)->i), 4) ]));
#endif
		;
		goto S_673_0;
S_672_1: /* 3 */
S_671_0: /* 2 */
		/* else */;
		goto S_673_0;
S_672_2: /* 3 */
		Uerror("blocking sel in d_step (nr.4, near line 128)");
S_673_0: /* 2 */
S_674_0: /* 2 */
		((P1 *)_this)->i = (((int)((P1 *)_this)->i)+1);
#ifdef VAR_RANGES
		logval("World:i", ((int)((P1 *)_this)->i));
#endif
		;
		goto S_678_0; /* ';' */
S_677_1: /* 3 */
S_675_0: /* 2 */
		/* else */;
S_676_0: /* 2 */
		goto S_683_0;	/* 'goto' */
S_677_2: /* 3 */
		Uerror("blocking sel in d_step (nr.5, near line 132)");
S_679_0: /* 2 */
		goto S_683_0;	/* 'break' */
S_683_0: /* 2 */
S_680_0: /* 2 */
		if (!(( !(((int)now.settled))&&(((int)now.hold)<3))))
			goto S_683_1;
S_681_0: /* 2 */
		now.hold = (((int)now.hold)+1);
#ifdef VAR_RANGES
		logval("hold", ((int)now.hold));
#endif
		;
		goto S_684_0;
S_683_1: /* 3 */
S_682_0: /* 2 */
		/* else */;
		goto S_684_0;
S_683_2: /* 3 */
		Uerror("blocking sel in d_step (nr.6, near line 133)");
S_684_0: /* 2 */
		goto S_686_0;
S_686_0: /* 2 */
		((P1 *)_this)->i = 0;
#ifdef VAR_RANGES
		logval("World:i", ((int)((P1 *)_this)->i));
#endif
		;
		goto S_788_0;
S_788_0: /* 1 */

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
		_m = 3; goto P999;

	case 10: // STATE 69 - world.pml:157 - [D_STEP157]
		if (!(boq == -1 && ( !(((int)now.settled))&&(((int)now.hold)==3))))
			continue;

		reached[1][69] = 1;
		reached[1][t->st] = 1;
		reached[1][tt] = 1;

		if (TstOnly) return 1;

		sv_save();
		S_688_0: /* 2 */
		if (!(( !(((int)now.settled))&&(((int)now.hold)==3))))
			Uerror("block in d_step seq");
S_689_0: /* 2 */
		now.settled = 1;
#ifdef VAR_RANGES
		logval("settled", ((int)now.settled));
#endif
		;
S_690_0: /* 2 */
		now.hold = 0;
#ifdef VAR_RANGES
		logval("hold", ((int)now.hold));
#endif
		;
		goto S_788_0; /* ';' */

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
		_m = 3; goto P999;

	case 11: // STATE 116 - world.pml:158 - [D_STEP158]
		if (!(boq == -1 && ((((int)now.resets)>0)&& !(0))))
			continue;

		reached[1][116] = 1;
		reached[1][t->st] = 1;
		reached[1][tt] = 1;

		if (TstOnly) return 1;

		sv_save();
		S_692_0: /* 2 */
		if (!(((((int)now.resets)>0)&& !(0))))
			Uerror("block in d_step seq");
S_693_0: /* 2 */
		now.resets = (((int)now.resets)-1);
#ifdef VAR_RANGES
		logval("resets", ((int)now.resets));
#endif
		;
S_736_0: /* 2 */
S_694_0: /* 2 */
		now.generation = (1-((int)now.generation));
#ifdef VAR_RANGES
		logval("generation", ((int)now.generation));
#endif
		;
S_695_0: /* 2 */
		now.settled = 0;
#ifdef VAR_RANGES
		logval("settled", ((int)now.settled));
#endif
		;
S_696_0: /* 2 */
		now.hold = 0;
#ifdef VAR_RANGES
		logval("hold", ((int)now.hold));
#endif
		;
S_697_0: /* 2 */
		((P1 *)_this)->i = 1;
#ifdef VAR_RANGES
		logval("World:i", ((int)((P1 *)_this)->i));
#endif
		;
S_705_0: /* 2 */
S_704_0: /* 2 */
S_698_0: /* 2 */
		if (!((((int)((P1 *)_this)->i)<=3)))
			goto S_704_1;
S_699_0: /* 2 */
		now.member[ Index(((P1 *)_this)->i, 4) ] = 0;
#ifdef VAR_RANGES
		logval("member[World:i]", ((int)now.member[ Index(((int)((P1 *)_this)->i), 4) ]));
#endif
		;
S_700_0: /* 2 */
		now.quiet[ Index(((P1 *)_this)->i, 4) ] = 0;
#ifdef VAR_RANGES
		logval("quiet[World:i]", ((int)now.quiet[ Index(((int)((P1 *)_this)->i), 4) ]));
#endif
		;
S_701_0: /* 2 */
		((P1 *)_this)->i = (((int)((P1 *)_this)->i)+1);
#ifdef VAR_RANGES
		logval("World:i", ((int)((P1 *)_this)->i));
#endif
		;
		goto S_705_0; /* ';' */
S_704_1: /* 3 */
S_702_0: /* 2 */
		/* else */;
S_703_0: /* 2 */
		goto S_707_0;	/* 'goto' */
S_704_2: /* 3 */
		Uerror("blocking sel in d_step (nr.7, near line 180)");
S_706_0: /* 2 */
		goto S_707_0;	/* 'break' */
S_707_0: /* 2 */
		((P1 *)_this)->claimless = 1;
#ifdef VAR_RANGES
		logval("World:claimless", ((int)((P1 *)_this)->claimless));
#endif
		;
S_708_0: /* 2 */
		((P1 *)_this)->i = 0;
#ifdef VAR_RANGES
		logval("World:i", ((int)((P1 *)_this)->i));
#endif
		;
S_720_0: /* 2 */
S_719_0: /* 2 */
S_709_0: /* 2 */
		if (!((((int)((P1 *)_this)->i)<=(2-1))))
			goto S_719_1;
S_713_0: /* 2 */
S_710_0: /* 2 */
		if (!((((((((int)now.mode[ Index(((int)((P1 *)_this)->i), 2) ])==0)&&(((int)now.running[ Index(((int)((P1 *)_this)->i), 2) ])==((int)now.newest)))&&(((int)now.newest)!=0))&& !(((int)now.lost[ Index(((int)((P1 *)_this)->i), 2) ])))&& !(((int)now.dropping[ Index(((int)((P1 *)_this)->i), 2) ])))))
			goto S_713_1;
S_711_0: /* 2 */
		((P1 *)_this)->claimless = 0;
#ifdef VAR_RANGES
		logval("World:claimless", ((int)((P1 *)_this)->claimless));
#endif
		;
		goto S_714_0;
S_713_1: /* 3 */
S_712_0: /* 2 */
		/* else */;
		goto S_714_0;
S_713_2: /* 3 */
		Uerror("blocking sel in d_step (nr.8, near line 184)");
S_714_0: /* 2 */
S_715_0: /* 2 */
		now.slow[ Index(((P1 *)_this)->i, 2) ] = (((int)now.mode[ Index(((int)((P1 *)_this)->i), 2) ])==1);
#ifdef VAR_RANGES
		logval("slow[World:i]", ((int)now.slow[ Index(((int)((P1 *)_this)->i), 2) ]));
#endif
		;
S_716_0: /* 2 */
		((P1 *)_this)->i = (((int)((P1 *)_this)->i)+1);
#ifdef VAR_RANGES
		logval("World:i", ((int)((P1 *)_this)->i));
#endif
		;
		goto S_720_0; /* ';' */
S_719_1: /* 3 */
S_717_0: /* 2 */
		/* else */;
S_718_0: /* 2 */
		goto S_725_0;	/* 'goto' */
S_719_2: /* 3 */
		Uerror("blocking sel in d_step (nr.9, near line 189)");
S_721_0: /* 2 */
		goto S_725_0;	/* 'break' */
S_725_0: /* 2 */
S_722_0: /* 2 */
		if (!(((int)((P1 *)_this)->claimless)))
			goto S_725_1;
S_723_0: /* 2 */
		now.acknowledged = 0;
#ifdef VAR_RANGES
		logval("acknowledged", ((int)now.acknowledged));
#endif
		;
		goto S_726_0;
S_725_1: /* 3 */
S_724_0: /* 2 */
		/* else */;
		goto S_726_0;
S_725_2: /* 3 */
		Uerror("blocking sel in d_step (nr.10, near line 190)");
S_726_0: /* 2 */
S_727_0: /* 2 */
		((P1 *)_this)->claimless = 0;
#ifdef VAR_RANGES
		logval("World:claimless", ((int)((P1 *)_this)->claimless));
#endif
		;
S_728_0: /* 2 */
		now.owner = 0;
#ifdef VAR_RANGES
		logval("owner", ((int)now.owner));
#endif
		;
S_729_0: /* 2 */
		now.epoch = 0;
#ifdef VAR_RANGES
		logval("epoch", ((int)now.epoch));
#endif
		;
S_730_0: /* 2 */
		now.version = 0;
#ifdef VAR_RANGES
		logval("version", ((int)now.version));
#endif
		;
S_731_0: /* 2 */
		now.state = 0;
#ifdef VAR_RANGES
		logval("state", ((int)now.state));
#endif
		;
S_732_0: /* 2 */
		now.last_commit = 0;
#ifdef VAR_RANGES
		logval("last_commit", ((int)now.last_commit));
#endif
		;
S_733_0: /* 2 */
		now.last_version = 0;
#ifdef VAR_RANGES
		logval("last_version", ((int)now.last_version));
#endif
		;
S_734_0: /* 2 */
		now.effects = 0;
#ifdef VAR_RANGES
		logval("effects", ((int)now.effects));
#endif
		;
S_735_0: /* 2 */
		now.declared = 0;
#ifdef VAR_RANGES
		logval("declared", ((int)now.declared));
#endif
		;
		goto S_737_0;
S_737_0: /* 2 */
		((P1 *)_this)->i = 0;
#ifdef VAR_RANGES
		logval("World:i", ((int)((P1 *)_this)->i));
#endif
		;
		goto S_788_0; /* ';' */

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
		_m = 3; goto P999;

	case 12: // STATE 139 - world.pml:159 - [D_STEP159]
		if (!(boq == -1 && (((int)now.late_commit_by)!=0)))
			continue;

		reached[1][139] = 1;
		reached[1][t->st] = 1;
		reached[1][tt] = 1;

		if (TstOnly) return 1;

		sv_save();
		S_739_0: /* 2 */
		if (!((((int)now.late_commit_by)!=0)))
			Uerror("block in d_step seq");
S_760_0: /* 2 */
S_752_0: /* 2 */
S_740_0: /* 2 */
		if (!(((((((int)now.late_commit_generation)==((int)now.generation))&& !((((int)now.last_commit)==(((int)now.late_commit_op)+1))))&&((((int)now.owner)==((int)now.late_commit_by))&&(((int)now.epoch)==((int)now.late_commit_epoch))))&&(((int)now.version)==((int)now.late_commit_version)))))
			goto S_752_1;
S_749_0: /* 2 */
S_741_0: /* 2 */
		spin_assert((((int)now.late_commit_epoch)==((int)now.newest)), "(late_commit_epoch==newest)", II, tt, t);
S_742_0: /* 2 */
		spin_assert(((((int)now.acknowledged)& ~(((int)now.late_commit_state)))==0), "((acknowledged& ~(late_commit_state))==0)", II, tt, t);
S_743_0: /* 2 */
		spin_assert( !((((int)now.effects)&(1<<((int)now.late_commit_op)))), " !((effects&(1<<late_commit_op)))", II, tt, t);
S_744_0: /* 2 */
		now.effects = (((int)now.effects)|(1<<((int)now.late_commit_op)));
#ifdef VAR_RANGES
		logval("effects", ((int)now.effects));
#endif
		;
S_745_0: /* 2 */
		now.version = (((int)now.version)+1);
#ifdef VAR_RANGES
		logval("version", ((int)now.version));
#endif
		;
S_746_0: /* 2 */
		now.state = ((int)now.late_commit_state);
#ifdef VAR_RANGES
		logval("state", ((int)now.state));
#endif
		;
S_747_0: /* 2 */
		now.last_commit = (((int)now.late_commit_op)+1);
#ifdef VAR_RANGES
		logval("last_commit", ((int)now.last_commit));
#endif
		;
S_748_0: /* 2 */
		now.last_version = ((int)now.version);
#ifdef VAR_RANGES
		logval("last_version", ((int)now.last_version));
#endif
		;
		goto S_753_0;
S_752_1: /* 3 */
S_750_0: /* 2 */
		/* else */;
S_751_0: /* 2 */
		if (!(1))
			Uerror("block in d_step seq");
		goto S_753_0;
S_752_2: /* 3 */
		Uerror("blocking sel in d_step (nr.11, near line 143)");
S_753_0: /* 2 */
S_754_0: /* 2 */
		now.late_commit_by = 0;
#ifdef VAR_RANGES
		logval("late_commit_by", ((int)now.late_commit_by));
#endif
		;
S_755_0: /* 2 */
		now.late_commit_epoch = 0;
#ifdef VAR_RANGES
		logval("late_commit_epoch", ((int)now.late_commit_epoch));
#endif
		;
S_756_0: /* 2 */
		now.late_commit_version = 0;
#ifdef VAR_RANGES
		logval("late_commit_version", ((int)now.late_commit_version));
#endif
		;
S_757_0: /* 2 */
		now.late_commit_state = 0;
#ifdef VAR_RANGES
		logval("late_commit_state", ((int)now.late_commit_state));
#endif
		;
S_758_0: /* 2 */
		now.late_commit_op = 0;
#ifdef VAR_RANGES
		logval("late_commit_op", ((int)now.late_commit_op));
#endif
		;
S_759_0: /* 2 */
		now.late_commit_generation = 0;
#ifdef VAR_RANGES
		logval("late_commit_generation", ((int)now.late_commit_generation));
#endif
		;
		goto S_788_0; /* ';' */
		goto S_788_0; /* ';' */

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
		_m = 3; goto P999;

	case 13: // STATE 164 - world.pml:160 - [D_STEP160]
		if (!(boq == -1 && (((int)now.late_claim_by)!=0)))
			continue;

		reached[1][164] = 1;
		reached[1][t->st] = 1;
		reached[1][tt] = 1;

		if (TstOnly) return 1;

		sv_save();
		S_762_0: /* 2 */
		if (!((((int)now.late_claim_by)!=0)))
			Uerror("block in d_step seq");
S_785_0: /* 2 */
S_778_0: /* 2 */
S_763_0: /* 2 */
		if (!((((int)now.late_claim_generation)!=((int)now.generation))))
			goto S_778_1;
S_764_0: /* 2 */
		if (!(1))
			Uerror("block in d_step seq");
		goto S_779_0;
S_778_1: /* 3 */
S_765_0: /* 2 */
		if (!((((int)now.late_effect)!=0)))
			goto S_778_2;
S_766_0: /* 2 */
		if (!(1))
			Uerror("block in d_step seq");
		goto S_779_0;
S_778_2: /* 3 */
S_767_0: /* 2 */
		if (!(((((int)now.owner)!=0)&& !(((((int)now.owner)==((int)now.late_from_incarnation))&&(((int)now.epoch)==((int)now.late_from_epoch)))))))
			goto S_778_3;
S_768_0: /* 2 */
		if (!(1))
			Uerror("block in d_step seq");
		goto S_779_0;
S_778_3: /* 3 */
S_769_0: /* 2 */
		if (!(( !(((int)now.settled))||(((int)now.newest)==3))))
			goto S_778_4;
S_770_0: /* 2 */
		if (!(1))
			Uerror("block in d_step seq");
		goto S_779_0;
S_778_4: /* 3 */
S_771_0: /* 2 */
		/* else */;
S_772_0: /* 2 */
		spin_assert((((int)now.late_effect)==0), "(late_effect==0)", II, tt, t);
S_777_0: /* 2 */
S_773_0: /* 2 */
		spin_assert(((((int)now.acknowledged)& ~(((int)now.state)))==0), "((acknowledged& ~(state))==0)", II, tt, t);
S_774_0: /* 2 */
		now.newest = (((int)now.newest)+1);
#ifdef VAR_RANGES
		logval("newest", ((int)now.newest));
#endif
		;
S_775_0: /* 2 */
		now.epoch = ((int)now.newest);
#ifdef VAR_RANGES
		logval("epoch", ((int)now.epoch));
#endif
		;
S_776_0: /* 2 */
		now.owner = ((int)now.late_claim_by);
#ifdef VAR_RANGES
		logval("owner", ((int)now.owner));
#endif
		;
		goto S_779_0;
		goto S_779_0;
S_778_5: /* 3 */
		Uerror("blocking sel in d_step (nr.12, near line 83)");
S_779_0: /* 2 */
S_780_0: /* 2 */
		now.late_claim_by = 0;
#ifdef VAR_RANGES
		logval("late_claim_by", ((int)now.late_claim_by));
#endif
		;
S_781_0: /* 2 */
		now.late_from_incarnation = 0;
#ifdef VAR_RANGES
		logval("late_from_incarnation", ((int)now.late_from_incarnation));
#endif
		;
S_782_0: /* 2 */
		now.late_from_epoch = 0;
#ifdef VAR_RANGES
		logval("late_from_epoch", ((int)now.late_from_epoch));
#endif
		;
S_783_0: /* 2 */
		now.late_effect = 0;
#ifdef VAR_RANGES
		logval("late_effect", ((int)now.late_effect));
#endif
		;
S_784_0: /* 2 */
		now.late_claim_generation = 0;
#ifdef VAR_RANGES
		logval("late_claim_generation", ((int)now.late_claim_generation));
#endif
		;
		goto S_788_0; /* ';' */
		goto S_788_0; /* ';' */

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
		_m = 3; goto P999;

	case 14: // STATE 168 - world.pml:162 - [-end-] (0:0:0 - 1)
		IfNotBlocked
		reached[1][168] = 1;
		if (!delproc(1, II)) continue;
		_m = 3; goto P999; /* 0 */

		 /* PROC Node */
	case 15: // STATE 4 - world.pml:21 - [D_STEP21]
		if (!(boq == -1 && (((((((int)now.mode[ Index(((int)((P0 *)_this)->n), 2) ])==0)&& !(((int)now.lost[ Index(((int)((P0 *)_this)->n), 2) ])))&&(((int)now.renewal[ Index(((int)((P0 *)_this)->n), 2) ])==0))&&((((int)now.lease[ Index(((int)((P0 *)_this)->n), 2) ])<2)||(((int)now.quiet[ Index(((int)now.self[ Index(((int)((P0 *)_this)->n), 2) ]), 4) ])>0)))&&1)))
			continue;

		reached[0][4] = 1;
		reached[0][t->st] = 1;
		reached[0][tt] = 1;

		if (TstOnly) return 1;

		sv_save();
		S_000_0: /* 2 */
		if (!((((((((int)now.mode[ Index(((int)((P0 *)_this)->n), 2) ])==0)&& !(((int)now.lost[ Index(((int)((P0 *)_this)->n), 2) ])))&&(((int)now.renewal[ Index(((int)((P0 *)_this)->n), 2) ])==0))&&((((int)now.lease[ Index(((int)((P0 *)_this)->n), 2) ])<2)||(((int)now.quiet[ Index(((int)now.self[ Index(((int)((P0 *)_this)->n), 2) ]), 4) ])>0)))&&1)))
			Uerror("block in d_step seq");
S_001_0: /* 2 */
		now.renewal[ Index(((P0 *)_this)->n, 2) ] = 1;
#ifdef VAR_RANGES
		logval("renewal[Node:n]", ((int)now.renewal[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_002_0: /* 2 */
		if (!(1))
			Uerror("block in d_step seq");
		goto S_620_0;
S_620_0: /* 1 */

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
		_m = 3; goto P999;

	case 16: // STATE 27 - world.pml:23 - [D_STEP23]
		if (!(boq == -1 && ((((int)now.renewal[ Index(((int)((P0 *)_this)->n), 2) ])==1)&&((((int)now.known_generation[ Index(((int)((P0 *)_this)->n), 2) ])==((int)now.generation))||(((int)now.reassertion[ Index(((int)((P0 *)_this)->n), 2) ])!=0)))))
			continue;

		reached[0][27] = 1;
		reached[0][t->st] = 1;
		reached[0][tt] = 1;

		if (TstOnly) return 1;

		sv_save();
		S_004_0: /* 2 */
		if (!(((((int)now.renewal[ Index(((int)((P0 *)_this)->n), 2) ])==1)&&((((int)now.known_generation[ Index(((int)((P0 *)_this)->n), 2) ])==((int)now.generation))||(((int)now.reassertion[ Index(((int)((P0 *)_this)->n), 2) ])!=0)))))
			Uerror("block in d_step seq");
S_025_0: /* 2 */
S_023_0: /* 2 */
S_005_0: /* 2 */
		if (!((((int)now.member[ Index(((int)now.self[ Index(((int)((P0 *)_this)->n), 2) ]), 4) ])==1)))
			goto S_023_1;
S_006_0: /* 2 */
		now.quiet[ Index(now.self[ Index(((P0 *)_this)->n, 2) ], 4) ] = 0;
#ifdef VAR_RANGES
		logval("quiet[self[Node:n]]", ((int)now.quiet[ Index(((int)now.self[ Index(((int)((P0 *)_this)->n), 2) ]), 4) ]));
#endif
		;
S_007_0: /* 2 */
		((P0 *)_this)->i = 0;
#ifdef VAR_RANGES
		logval("Node:i", ((int)((P0 *)_this)->i));
#endif
		;
S_018_0: /* 2 */
S_017_0: /* 2 */
S_008_0: /* 2 */
		if (!((((int)((P0 *)_this)->i)<=(2-1))))
			goto S_017_1;
S_012_0: /* 2 */
S_009_0: /* 2 */
		if (!(((((int)now.declaration[ Index(((int)((P0 *)_this)->i), 2) ])==1)&&(((int)now.declared_who[ Index(((int)((P0 *)_this)->i), 2) ])==((int)now.self[ Index(((int)((P0 *)_this)->n), 2) ])))))
			goto S_012_1;
S_010_0: /* 2 */
		now.counter_same[ Index(((P0 *)_this)->i, 2) ] = 0;
#ifdef VAR_RANGES
		logval("counter_same[Node:i]", ((int)now.counter_same[ Index(((int)((P0 *)_this)->i), 2) ]));
#endif
		;
		goto S_013_0;
S_012_1: /* 3 */
S_011_0: /* 2 */
		/* else */;
		goto S_013_0;
S_012_2: /* 3 */
		Uerror("blocking sel in d_step (nr.13, near line 12)");
S_013_0: /* 2 */
S_014_0: /* 2 */
		((P0 *)_this)->i = (((int)((P0 *)_this)->i)+1);
#ifdef VAR_RANGES
		logval("Node:i", ((int)((P0 *)_this)->i));
#endif
		;
		goto S_018_0; /* ';' */
S_017_1: /* 3 */
S_015_0: /* 2 */
		/* else */;
S_016_0: /* 2 */
		goto S_020_0;	/* 'goto' */
S_017_2: /* 3 */
		Uerror("blocking sel in d_step (nr.14, near line 16)");
S_019_0: /* 2 */
		goto S_020_0;	/* 'break' */
S_020_0: /* 2 */
		now.renewal[ Index(((P0 *)_this)->n, 2) ] = 2;
#ifdef VAR_RANGES
		logval("renewal[Node:n]", ((int)now.renewal[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
		goto S_024_0;
S_023_1: /* 3 */
S_021_0: /* 2 */
		/* else */;
S_022_0: /* 2 */
		now.renewal[ Index(((P0 *)_this)->n, 2) ] = 3;
#ifdef VAR_RANGES
		logval("renewal[Node:n]", ((int)now.renewal[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
		goto S_024_0;
S_023_2: /* 3 */
		Uerror("blocking sel in d_step (nr.15, near line 7)");
S_024_0: /* 2 */
		goto S_620_0; /* '.' */
		goto S_620_0; /* ';' */
		goto S_620_0; /* ';' */

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
		_m = 3; goto P999;

	case 17: // STATE 46 - world.pml:24 - [D_STEP24]
		if (!(boq == -1 && ((((int)now.mode[ Index(((int)((P0 *)_this)->n), 2) ])==0)&&((((int)now.renewal[ Index(((int)((P0 *)_this)->n), 2) ])==2)||(((int)now.renewal[ Index(((int)((P0 *)_this)->n), 2) ])==3)))))
			continue;

		reached[0][46] = 1;
		reached[0][t->st] = 1;
		reached[0][tt] = 1;

		if (TstOnly) return 1;

		sv_save();
		S_027_0: /* 2 */
		if (!(((((int)now.mode[ Index(((int)((P0 *)_this)->n), 2) ])==0)&&((((int)now.renewal[ Index(((int)((P0 *)_this)->n), 2) ])==2)||(((int)now.renewal[ Index(((int)((P0 *)_this)->n), 2) ])==3)))))
			Uerror("block in d_step seq");
S_044_0: /* 2 */
S_040_0: /* 2 */
S_028_0: /* 2 */
		if (!((((int)now.renewal[ Index(((int)((P0 *)_this)->n), 2) ])==3)))
			goto S_040_1;
S_029_0: /* 2 */
		now.lost[ Index(((P0 *)_this)->n, 2) ] = 1;
#ifdef VAR_RANGES
		logval("lost[Node:n]", ((int)now.lost[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_030_0: /* 2 */
		now.lease[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("lease[Node:n]", ((int)now.lease[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
		goto S_041_0;
S_040_1: /* 3 */
S_031_0: /* 2 */
		if (!(((((int)now.renewal[ Index(((int)((P0 *)_this)->n), 2) ])==2)&&(((int)now.reassertion[ Index(((int)((P0 *)_this)->n), 2) ])!=0))))
			goto S_040_2;
S_032_0: /* 2 */
		if (!(1))
			Uerror("block in d_step seq");
		goto S_041_0;
S_040_2: /* 3 */
S_033_0: /* 2 */
		/* else */;
S_038_0: /* 2 */
S_034_0: /* 2 */
		if (!(((2-((int)now.renewal_age[ Index(((int)((P0 *)_this)->n), 2) ]))>((int)now.lease[ Index(((int)((P0 *)_this)->n), 2) ]))))
			goto S_038_1;
S_035_0: /* 2 */
		now.lease[ Index(((P0 *)_this)->n, 2) ] = (2-((int)now.renewal_age[ Index(((int)((P0 *)_this)->n), 2) ]));
#ifdef VAR_RANGES
		logval("lease[Node:n]", ((int)now.lease[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
		goto S_039_0;
S_038_1: /* 3 */
S_036_0: /* 2 */
		/* else */;
S_037_0: /* 2 */
		if (!(1))
			Uerror("block in d_step seq");
		goto S_039_0;
S_038_2: /* 3 */
		Uerror("blocking sel in d_step (nr.16, near line 37)");
S_039_0: /* 2 */
		goto S_041_0;
S_040_3: /* 3 */
		Uerror("blocking sel in d_step (nr.17, near line 27)");
S_041_0: /* 2 */
S_042_0: /* 2 */
		now.renewal[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("renewal[Node:n]", ((int)now.renewal[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_043_0: /* 2 */
		now.renewal_age[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("renewal_age[Node:n]", ((int)now.renewal_age[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
		goto S_620_0; /* ';' */
		goto S_620_0; /* ';' */

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
		_m = 3; goto P999;

	case 18: // STATE 50 - world.pml:25 - [D_STEP25]
		if (!(boq == -1 && ((((int)now.renewal[ Index(((int)((P0 *)_this)->n), 2) ])==2)&& !(0))))
			continue;

		reached[0][50] = 1;
		reached[0][t->st] = 1;
		reached[0][tt] = 1;

		if (TstOnly) return 1;

		sv_save();
		S_046_0: /* 2 */
		if (!(((((int)now.renewal[ Index(((int)((P0 *)_this)->n), 2) ])==2)&& !(0))))
			Uerror("block in d_step seq");
S_047_0: /* 2 */
		now.renewal[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("renewal[Node:n]", ((int)now.renewal[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_048_0: /* 2 */
		now.renewal_age[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("renewal_age[Node:n]", ((int)now.renewal_age[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
		goto S_620_0; /* ';' */

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
		_m = 3; goto P999;

	case 19: // STATE 54 - world.pml:26 - [D_STEP26]
		if (!(boq == -1 && (((0&&(((int)now.renewal[ Index(((int)((P0 *)_this)->n), 2) ])==1))&& !((((int)now.known_generation[ Index(((int)((P0 *)_this)->n), 2) ])==((int)now.generation))))&&(((int)now.reassertion[ Index(((int)((P0 *)_this)->n), 2) ])==0))))
			continue;

		reached[0][54] = 1;
		reached[0][t->st] = 1;
		reached[0][tt] = 1;

		if (TstOnly) return 1;

		sv_save();
		S_050_0: /* 2 */
		if (!((((0&&(((int)now.renewal[ Index(((int)((P0 *)_this)->n), 2) ])==1))&& !((((int)now.known_generation[ Index(((int)((P0 *)_this)->n), 2) ])==((int)now.generation))))&&(((int)now.reassertion[ Index(((int)((P0 *)_this)->n), 2) ])==0))))
			Uerror("block in d_step seq");
S_051_0: /* 2 */
		now.renewal[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("renewal[Node:n]", ((int)now.renewal[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_052_0: /* 2 */
		now.renewal_age[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("renewal_age[Node:n]", ((int)now.renewal_age[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
		goto S_620_0; /* ';' */

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
		_m = 3; goto P999;

	case 20: // STATE 60 - world.pml:29 - [D_STEP29]
		if (!(boq == -1 && (((((((((int)now.mode[ Index(((int)((P0 *)_this)->n), 2) ])==0)&&(((int)now.lease[ Index(((int)((P0 *)_this)->n), 2) ])>0))&&(((int)now.known_generation[ Index(((int)((P0 *)_this)->n), 2) ])==((int)now.generation)))&&(((int)now.declaration[ Index(((int)((P0 *)_this)->n), 2) ])==0))&&(((int)now.self[ Index(((int)((P0 *)_this)->n), 2) ])!=1))&&(((int)now.member[1])==1))&&((((int)now.quiet[1])==3)|| !((((((int)now.self[0])==1)&&(((int)now.mode[0])!=2))||((((int)now.self[1])==1)&&(((int)now.mode[1])!=2))))))))
			continue;

		reached[0][60] = 1;
		reached[0][t->st] = 1;
		reached[0][tt] = 1;

		if (TstOnly) return 1;

		sv_save();
		S_054_0: /* 2 */
		if (!((((((((((int)now.mode[ Index(((int)((P0 *)_this)->n), 2) ])==0)&&(((int)now.lease[ Index(((int)((P0 *)_this)->n), 2) ])>0))&&(((int)now.known_generation[ Index(((int)((P0 *)_this)->n), 2) ])==((int)now.generation)))&&(((int)now.declaration[ Index(((int)((P0 *)_this)->n), 2) ])==0))&&(((int)now.self[ Index(((int)((P0 *)_this)->n), 2) ])!=1))&&(((int)now.member[1])==1))&&((((int)now.quiet[1])==3)|| !((((((int)now.self[0])==1)&&(((int)now.mode[0])!=2))||((((int)now.self[1])==1)&&(((int)now.mode[1])!=2))))))))
			Uerror("block in d_step seq");
S_058_0: /* 2 */
S_055_0: /* 2 */
		now.declaration[ Index(((P0 *)_this)->n, 2) ] = 1;
#ifdef VAR_RANGES
		logval("declaration[Node:n]", ((int)now.declaration[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_056_0: /* 2 */
		now.declared_who[ Index(((P0 *)_this)->n, 2) ] = 1;
#ifdef VAR_RANGES
		logval("declared_who[Node:n]", ((int)now.declared_who[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_057_0: /* 2 */
		now.counter_same[ Index(((P0 *)_this)->n, 2) ] = 1;
#ifdef VAR_RANGES
		logval("counter_same[Node:n]", ((int)now.counter_same[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
		goto S_620_0; /* ';' */
		goto S_620_0; /* ';' */

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
		_m = 3; goto P999;

	case 21: // STATE 66 - world.pml:30 - [D_STEP30]
		if (!(boq == -1 && (((((((((int)now.mode[ Index(((int)((P0 *)_this)->n), 2) ])==0)&&(((int)now.lease[ Index(((int)((P0 *)_this)->n), 2) ])>0))&&(((int)now.known_generation[ Index(((int)((P0 *)_this)->n), 2) ])==((int)now.generation)))&&(((int)now.declaration[ Index(((int)((P0 *)_this)->n), 2) ])==0))&&(((int)now.self[ Index(((int)((P0 *)_this)->n), 2) ])!=2))&&(((int)now.member[2])==1))&&((((int)now.quiet[2])==3)|| !((((((int)now.self[0])==2)&&(((int)now.mode[0])!=2))||((((int)now.self[1])==2)&&(((int)now.mode[1])!=2))))))))
			continue;

		reached[0][66] = 1;
		reached[0][t->st] = 1;
		reached[0][tt] = 1;

		if (TstOnly) return 1;

		sv_save();
		S_060_0: /* 2 */
		if (!((((((((((int)now.mode[ Index(((int)((P0 *)_this)->n), 2) ])==0)&&(((int)now.lease[ Index(((int)((P0 *)_this)->n), 2) ])>0))&&(((int)now.known_generation[ Index(((int)((P0 *)_this)->n), 2) ])==((int)now.generation)))&&(((int)now.declaration[ Index(((int)((P0 *)_this)->n), 2) ])==0))&&(((int)now.self[ Index(((int)((P0 *)_this)->n), 2) ])!=2))&&(((int)now.member[2])==1))&&((((int)now.quiet[2])==3)|| !((((((int)now.self[0])==2)&&(((int)now.mode[0])!=2))||((((int)now.self[1])==2)&&(((int)now.mode[1])!=2))))))))
			Uerror("block in d_step seq");
S_064_0: /* 2 */
S_061_0: /* 2 */
		now.declaration[ Index(((P0 *)_this)->n, 2) ] = 1;
#ifdef VAR_RANGES
		logval("declaration[Node:n]", ((int)now.declaration[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_062_0: /* 2 */
		now.declared_who[ Index(((P0 *)_this)->n, 2) ] = 2;
#ifdef VAR_RANGES
		logval("declared_who[Node:n]", ((int)now.declared_who[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_063_0: /* 2 */
		now.counter_same[ Index(((P0 *)_this)->n, 2) ] = 1;
#ifdef VAR_RANGES
		logval("counter_same[Node:n]", ((int)now.counter_same[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
		goto S_620_0; /* ';' */
		goto S_620_0; /* ';' */

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
		_m = 3; goto P999;

	case 22: // STATE 72 - world.pml:32 - [D_STEP32]
		if (!(boq == -1 && (((((((((int)now.mode[ Index(((int)((P0 *)_this)->n), 2) ])==0)&&(((int)now.lease[ Index(((int)((P0 *)_this)->n), 2) ])>0))&&(((int)now.known_generation[ Index(((int)((P0 *)_this)->n), 2) ])==((int)now.generation)))&&(((int)now.declaration[ Index(((int)((P0 *)_this)->n), 2) ])==0))&&(((int)now.self[ Index(((int)((P0 *)_this)->n), 2) ])!=3))&&(((int)now.member[3])==1))&&((((int)now.quiet[3])==3)|| !((((((int)now.self[0])==3)&&(((int)now.mode[0])!=2))||((((int)now.self[1])==3)&&(((int)now.mode[1])!=2))))))))
			continue;

		reached[0][72] = 1;
		reached[0][t->st] = 1;
		reached[0][tt] = 1;

		if (TstOnly) return 1;

		sv_save();
		S_066_0: /* 2 */
		if (!((((((((((int)now.mode[ Index(((int)((P0 *)_this)->n), 2) ])==0)&&(((int)now.lease[ Index(((int)((P0 *)_this)->n), 2) ])>0))&&(((int)now.known_generation[ Index(((int)((P0 *)_this)->n), 2) ])==((int)now.generation)))&&(((int)now.declaration[ Index(((int)((P0 *)_this)->n), 2) ])==0))&&(((int)now.self[ Index(((int)((P0 *)_this)->n), 2) ])!=3))&&(((int)now.member[3])==1))&&((((int)now.quiet[3])==3)|| !((((((int)now.self[0])==3)&&(((int)now.mode[0])!=2))||((((int)now.self[1])==3)&&(((int)now.mode[1])!=2))))))))
			Uerror("block in d_step seq");
S_070_0: /* 2 */
S_067_0: /* 2 */
		now.declaration[ Index(((P0 *)_this)->n, 2) ] = 1;
#ifdef VAR_RANGES
		logval("declaration[Node:n]", ((int)now.declaration[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_068_0: /* 2 */
		now.declared_who[ Index(((P0 *)_this)->n, 2) ] = 3;
#ifdef VAR_RANGES
		logval("declared_who[Node:n]", ((int)now.declared_who[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_069_0: /* 2 */
		now.counter_same[ Index(((P0 *)_this)->n, 2) ] = 1;
#ifdef VAR_RANGES
		logval("counter_same[Node:n]", ((int)now.counter_same[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
		goto S_620_0; /* ';' */
		goto S_620_0; /* ';' */

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
		_m = 3; goto P999;

	case 23: // STATE 91 - world.pml:37 - [D_STEP37]
		if (!(boq == -1 && ((((int)now.declaration[ Index(((int)((P0 *)_this)->n), 2) ])==1)&&(((int)now.known_generation[ Index(((int)((P0 *)_this)->n), 2) ])==((int)now.generation)))))
			continue;

		reached[0][91] = 1;
		reached[0][t->st] = 1;
		reached[0][tt] = 1;

		if (TstOnly) return 1;

		sv_save();
		S_072_0: /* 2 */
		if (!(((((int)now.declaration[ Index(((int)((P0 *)_this)->n), 2) ])==1)&&(((int)now.known_generation[ Index(((int)((P0 *)_this)->n), 2) ])==((int)now.generation)))))
			Uerror("block in d_step seq");
S_089_0: /* 2 */
S_084_0: /* 2 */
S_073_0: /* 2 */
		if (!( !(((int)now.counter_same[ Index(((int)((P0 *)_this)->n), 2) ]))))
			goto S_084_1;
S_074_0: /* 2 */
		if (!(1))
			Uerror("block in d_step seq");
		goto S_085_0;
S_084_1: /* 3 */
S_075_0: /* 2 */
		if (!( !(((int)now.settled))))
			goto S_084_2;
S_076_0: /* 2 */
		if (!(1))
			Uerror("block in d_step seq");
		goto S_085_0;
S_084_2: /* 3 */
S_077_0: /* 2 */
		if (!((((int)now.member[ Index(((int)now.declared_who[ Index(((int)((P0 *)_this)->n), 2) ]), 4) ])!=1)))
			goto S_084_3;
S_078_0: /* 2 */
		if (!(1))
			Uerror("block in d_step seq");
		goto S_085_0;
S_084_3: /* 3 */
S_079_0: /* 2 */
		/* else */;
S_080_0: /* 2 */
		spin_assert( !((((int)now.declared)&(1<<((int)now.declared_who[ Index(((int)((P0 *)_this)->n), 2) ])))), " !((declared&(1<<declared_who[n])))", II, tt, t);
S_081_0: /* 2 */
		now.declared = (((int)now.declared)|(1<<((int)now.declared_who[ Index(((int)((P0 *)_this)->n), 2) ])));
#ifdef VAR_RANGES
		logval("declared", ((int)now.declared));
#endif
		;
S_082_0: /* 2 */
		now.member[ Index(now.declared_who[ Index(((P0 *)_this)->n, 2) ], 4) ] = 2;
#ifdef VAR_RANGES
		logval("member[declared_who[Node:n]]", ((int)now.member[ Index(((int)now.declared_who[ Index(((int)((P0 *)_this)->n), 2) ]), 4) ]));
#endif
		;
S_083_0: /* 2 */
		now.quiet[ Index(now.declared_who[ Index(((P0 *)_this)->n, 2) ], 4) ] = 0;
#ifdef VAR_RANGES
		logval("quiet[declared_who[Node:n]]", ((int)now.quiet[ Index(((int)now.declared_who[ Index(((int)((P0 *)_this)->n), 2) ]), 4) ]));
#endif
		;
		goto S_085_0;
S_084_4: /* 3 */
		Uerror("blocking sel in d_step (nr.18, near line 23)");
S_085_0: /* 2 */
S_086_0: /* 2 */
		now.declaration[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("declaration[Node:n]", ((int)now.declaration[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_087_0: /* 2 */
		now.declared_who[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("declared_who[Node:n]", ((int)now.declared_who[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_088_0: /* 2 */
		now.counter_same[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("counter_same[Node:n]", ((int)now.counter_same[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
		goto S_620_0; /* ';' */
		goto S_620_0; /* ';' */

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
		_m = 3; goto P999;

	case 24: // STATE 96 - world.pml:38 - [D_STEP38]
		if (!(boq == -1 && ((((int)now.declaration[ Index(((int)((P0 *)_this)->n), 2) ])==1)&& !((((int)now.known_generation[ Index(((int)((P0 *)_this)->n), 2) ])==((int)now.generation))))))
			continue;

		reached[0][96] = 1;
		reached[0][t->st] = 1;
		reached[0][tt] = 1;

		if (TstOnly) return 1;

		sv_save();
		S_091_0: /* 2 */
		if (!(((((int)now.declaration[ Index(((int)((P0 *)_this)->n), 2) ])==1)&& !((((int)now.known_generation[ Index(((int)((P0 *)_this)->n), 2) ])==((int)now.generation))))))
			Uerror("block in d_step seq");
S_092_0: /* 2 */
		now.declaration[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("declaration[Node:n]", ((int)now.declaration[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_093_0: /* 2 */
		now.declared_who[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("declared_who[Node:n]", ((int)now.declared_who[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_094_0: /* 2 */
		now.counter_same[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("counter_same[Node:n]", ((int)now.counter_same[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
		goto S_620_0; /* ';' */

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
		_m = 3; goto P999;

	case 25: // STATE 104 - world.pml:41 - [D_STEP41]
		if (!(boq == -1 && (((((int)now.mode[ Index(((int)((P0 *)_this)->n), 2) ])==0)&&(((int)now.lost[ Index(((int)((P0 *)_this)->n), 2) ])||((int)now.dropping[ Index(((int)((P0 *)_this)->n), 2) ])))&&(((int)now.running[ Index(((int)((P0 *)_this)->n), 2) ])!=0))))
			continue;

		reached[0][104] = 1;
		reached[0][t->st] = 1;
		reached[0][tt] = 1;

		if (TstOnly) return 1;

		sv_save();
		S_096_0: /* 2 */
		if (!((((((int)now.mode[ Index(((int)((P0 *)_this)->n), 2) ])==0)&&(((int)now.lost[ Index(((int)((P0 *)_this)->n), 2) ])||((int)now.dropping[ Index(((int)((P0 *)_this)->n), 2) ])))&&(((int)now.running[ Index(((int)((P0 *)_this)->n), 2) ])!=0))))
			Uerror("block in d_step seq");
S_102_0: /* 2 */
S_097_0: /* 2 */
		now.running[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("running[Node:n]", ((int)now.running[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_098_0: /* 2 */
		now.held[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("held[Node:n]", ((int)now.held[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_099_0: /* 2 */
		now.memory[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("memory[Node:n]", ((int)now.memory[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_100_0: /* 2 */
		now.turn[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("turn[Node:n]", ((int)now.turn[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_101_0: /* 2 */
		now.dropping[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("dropping[Node:n]", ((int)now.dropping[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
		goto S_620_0; /* ';' */
		goto S_620_0; /* ';' */

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
		_m = 3; goto P999;

	case 26: // STATE 119 - world.pml:45 - [D_STEP45]
		if (!(boq == -1 && ((((((int)now.mode[ Index(((int)((P0 *)_this)->n), 2) ])==0)&&((int)now.lost[ Index(((int)((P0 *)_this)->n), 2) ]))&&(((int)now.running[ Index(((int)((P0 *)_this)->n), 2) ])==0))&&(((int)now.joined)<3))))
			continue;

		reached[0][119] = 1;
		reached[0][t->st] = 1;
		reached[0][tt] = 1;

		if (TstOnly) return 1;

		sv_save();
		S_104_0: /* 2 */
		if (!(((((((int)now.mode[ Index(((int)((P0 *)_this)->n), 2) ])==0)&&((int)now.lost[ Index(((int)((P0 *)_this)->n), 2) ]))&&(((int)now.running[ Index(((int)((P0 *)_this)->n), 2) ])==0))&&(((int)now.joined)<3))))
			Uerror("block in d_step seq");
S_117_0: /* 2 */
S_109_0: /* 2 */
S_105_0: /* 2 */
		now.joined = (((int)now.joined)+1);
#ifdef VAR_RANGES
		logval("joined", ((int)now.joined));
#endif
		;
S_106_0: /* 2 */
		now.self[ Index(((P0 *)_this)->n, 2) ] = ((int)now.joined);
#ifdef VAR_RANGES
		logval("self[Node:n]", ((int)now.self[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_107_0: /* 2 */
		now.member[ Index(now.joined, 4) ] = 1;
#ifdef VAR_RANGES
		logval("member[joined]", ((int)now.member[ Index(((int)now.joined), 4) ]));
#endif
		;
S_108_0: /* 2 */
		now.quiet[ Index(now.joined, 4) ] = 0;
#ifdef VAR_RANGES
		logval("quiet[joined]", ((int)now.quiet[ Index(((int)now.joined), 4) ]));
#endif
		;
		goto S_110_0;
S_110_0: /* 2 */
		now.lost[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("lost[Node:n]", ((int)now.lost[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_111_0: /* 2 */
		now.lease[ Index(((P0 *)_this)->n, 2) ] = 2;
#ifdef VAR_RANGES
		logval("lease[Node:n]", ((int)now.lease[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_112_0: /* 2 */
		now.renewal[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("renewal[Node:n]", ((int)now.renewal[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_113_0: /* 2 */
		now.renewal_age[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("renewal_age[Node:n]", ((int)now.renewal_age[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_114_0: /* 2 */
		now.reassertion[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("reassertion[Node:n]", ((int)now.reassertion[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_115_0: /* 2 */
		now.known_generation[ Index(((P0 *)_this)->n, 2) ] = ((int)now.generation);
#ifdef VAR_RANGES
		logval("known_generation[Node:n]", ((int)now.known_generation[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_116_0: /* 2 */
		now.slow[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("slow[Node:n]", ((int)now.slow[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
		goto S_620_0; /* ';' */
		goto S_620_0; /* ';' */

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
		_m = 3; goto P999;

	case 27: // STATE 142 - world.pml:49 - [D_STEP49]
		if (!(boq == -1 && ((((((int)now.mode[ Index(((int)((P0 *)_this)->n), 2) ])==0)&& !(((int)now.lost[ Index(((int)((P0 *)_this)->n), 2) ])))&& !((((int)now.known_generation[ Index(((int)((P0 *)_this)->n), 2) ])==((int)now.generation))))&&(((int)now.reassertion[ Index(((int)((P0 *)_this)->n), 2) ])==0))))
			continue;

		reached[0][142] = 1;
		reached[0][t->st] = 1;
		reached[0][tt] = 1;

		if (TstOnly) return 1;

		sv_save();
		S_119_0: /* 2 */
		if (!(((((((int)now.mode[ Index(((int)((P0 *)_this)->n), 2) ])==0)&& !(((int)now.lost[ Index(((int)((P0 *)_this)->n), 2) ])))&& !((((int)now.known_generation[ Index(((int)((P0 *)_this)->n), 2) ])==((int)now.generation))))&&(((int)now.reassertion[ Index(((int)((P0 *)_this)->n), 2) ])==0))))
			Uerror("block in d_step seq");
S_140_0: /* 2 */
S_138_0: /* 2 */
S_120_0: /* 2 */
		if (!((((int)now.member[ Index(((int)now.self[ Index(((int)((P0 *)_this)->n), 2) ]), 4) ])==2)))
			goto S_138_1;
S_126_0: /* 2 */
S_121_0: /* 2 */
		now.running[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("running[Node:n]", ((int)now.running[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_122_0: /* 2 */
		now.held[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("held[Node:n]", ((int)now.held[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_123_0: /* 2 */
		now.memory[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("memory[Node:n]", ((int)now.memory[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_124_0: /* 2 */
		now.turn[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("turn[Node:n]", ((int)now.turn[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_125_0: /* 2 */
		now.dropping[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("dropping[Node:n]", ((int)now.dropping[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
		goto S_127_0;
S_127_0: /* 2 */
		now.known_generation[ Index(((P0 *)_this)->n, 2) ] = ((int)now.generation);
#ifdef VAR_RANGES
		logval("known_generation[Node:n]", ((int)now.known_generation[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_128_0: /* 2 */
		now.slow[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("slow[Node:n]", ((int)now.slow[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
		goto S_139_0;
S_138_1: /* 3 */
S_129_0: /* 2 */
		/* else */;
S_135_0: /* 2 */
S_130_0: /* 2 */
		if (!((((int)now.member[ Index(((int)now.self[ Index(((int)((P0 *)_this)->n), 2) ]), 4) ])==0)))
			goto S_135_1;
S_131_0: /* 2 */
		now.member[ Index(now.self[ Index(((P0 *)_this)->n, 2) ], 4) ] = 1;
#ifdef VAR_RANGES
		logval("member[self[Node:n]]", ((int)now.member[ Index(((int)now.self[ Index(((int)((P0 *)_this)->n), 2) ]), 4) ]));
#endif
		;
S_132_0: /* 2 */
		now.quiet[ Index(now.self[ Index(((P0 *)_this)->n, 2) ], 4) ] = 0;
#ifdef VAR_RANGES
		logval("quiet[self[Node:n]]", ((int)now.quiet[ Index(((int)now.self[ Index(((int)((P0 *)_this)->n), 2) ]), 4) ]));
#endif
		;
		goto S_136_0;
S_135_1: /* 3 */
S_133_0: /* 2 */
		/* else */;
S_134_0: /* 2 */
		if (!(1))
			Uerror("block in d_step seq");
		goto S_136_0;
S_135_2: /* 3 */
		Uerror("blocking sel in d_step (nr.19, near line 68)");
S_136_0: /* 2 */
S_137_0: /* 2 */
		now.reassertion[ Index(((P0 *)_this)->n, 2) ] = 1;
#ifdef VAR_RANGES
		logval("reassertion[Node:n]", ((int)now.reassertion[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
		goto S_139_0;
S_138_2: /* 3 */
		Uerror("blocking sel in d_step (nr.20, near line 65)");
S_139_0: /* 2 */
		goto S_620_0; /* '.' */
		goto S_620_0; /* ';' */
		goto S_620_0; /* ';' */

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
		_m = 3; goto P999;

	case 28: // STATE 176 - world.pml:50 - [D_STEP50]
		if (!(boq == -1 && (((((int)now.mode[ Index(((int)((P0 *)_this)->n), 2) ])==0)&& !(((int)now.lost[ Index(((int)((P0 *)_this)->n), 2) ])))&&((((int)now.reassertion[ Index(((int)((P0 *)_this)->n), 2) ])==1)||((((int)now.reassertion[ Index(((int)((P0 *)_this)->n), 2) ])==2)&&((int)now.settled))))))
			continue;

		reached[0][176] = 1;
		reached[0][t->st] = 1;
		reached[0][tt] = 1;

		if (TstOnly) return 1;

		sv_save();
		S_142_0: /* 2 */
		if (!((((((int)now.mode[ Index(((int)((P0 *)_this)->n), 2) ])==0)&& !(((int)now.lost[ Index(((int)((P0 *)_this)->n), 2) ])))&&((((int)now.reassertion[ Index(((int)((P0 *)_this)->n), 2) ])==1)||((((int)now.reassertion[ Index(((int)((P0 *)_this)->n), 2) ])==2)&&((int)now.settled))))))
			Uerror("block in d_step seq");
S_174_0: /* 2 */
S_165_0: /* 2 */
S_163_0: /* 2 */
S_143_0: /* 2 */
		if (!((((int)now.running[ Index(((int)((P0 *)_this)->n), 2) ])==0)))
			goto S_163_1;
S_144_0: /* 2 */
		if (!(1))
			Uerror("block in d_step seq");
		goto S_164_0;
S_163_1: /* 3 */
S_145_0: /* 2 */
		if (!(((((int)now.running[ Index(((int)((P0 *)_this)->n), 2) ])!=0)&&(((((int)now.member[ Index(((int)now.self[ Index(((int)((P0 *)_this)->n), 2) ]), 4) ])!=1)||(((int)now.epoch)>((int)now.running[ Index(((int)((P0 *)_this)->n), 2) ])))||(((((int)now.epoch)==((int)now.running[ Index(((int)((P0 *)_this)->n), 2) ]))&&(((int)now.owner)!=((int)now.self[ Index(((int)((P0 *)_this)->n), 2) ])))&&(((int)now.owner)!=0))))))
			goto S_163_2;
S_151_0: /* 2 */
S_146_0: /* 2 */
		now.running[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("running[Node:n]", ((int)now.running[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_147_0: /* 2 */
		now.held[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("held[Node:n]", ((int)now.held[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_148_0: /* 2 */
		now.memory[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("memory[Node:n]", ((int)now.memory[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_149_0: /* 2 */
		now.turn[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("turn[Node:n]", ((int)now.turn[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_150_0: /* 2 */
		now.dropping[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("dropping[Node:n]", ((int)now.dropping[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
		goto S_164_0;
		goto S_164_0;
S_163_2: /* 3 */
S_152_0: /* 2 */
		/* else */;
S_159_0: /* 2 */
S_153_0: /* 2 */
		if (!(((((int)now.held[ Index(((int)((P0 *)_this)->n), 2) ])>0)&&((((int)now.epoch)!=((int)now.running[ Index(((int)((P0 *)_this)->n), 2) ]))||(((int)now.held[ Index(((int)((P0 *)_this)->n), 2) ])>((int)now.version))))))
			goto S_159_1;
S_154_0: /* 2 */
		now.version = ((int)now.held[ Index(((int)((P0 *)_this)->n), 2) ]);
#ifdef VAR_RANGES
		logval("version", ((int)now.version));
#endif
		;
S_155_0: /* 2 */
		now.state = ((int)now.memory[ Index(((int)((P0 *)_this)->n), 2) ]);
#ifdef VAR_RANGES
		logval("state", ((int)now.state));
#endif
		;
S_156_0: /* 2 */
		now.last_commit = 0;
#ifdef VAR_RANGES
		logval("last_commit", ((int)now.last_commit));
#endif
		;
		goto S_160_0;
S_159_1: /* 3 */
S_157_0: /* 2 */
		/* else */;
S_158_0: /* 2 */
		if (!(1))
			Uerror("block in d_step seq");
		goto S_160_0;
S_159_2: /* 3 */
		Uerror("blocking sel in d_step (nr.21, near line 167)");
S_160_0: /* 2 */
S_161_0: /* 2 */
		now.owner = ((int)now.self[ Index(((int)((P0 *)_this)->n), 2) ]);
#ifdef VAR_RANGES
		logval("owner", ((int)now.owner));
#endif
		;
S_162_0: /* 2 */
		now.epoch = ((int)now.running[ Index(((int)((P0 *)_this)->n), 2) ]);
#ifdef VAR_RANGES
		logval("epoch", ((int)now.epoch));
#endif
		;
		goto S_164_0;
S_163_3: /* 3 */
		Uerror("blocking sel in d_step (nr.22, near line 162)");
S_164_0: /* 2 */
		goto S_166_0;
S_166_0: /* 2 */
		now.slow[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("slow[Node:n]", ((int)now.slow[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_172_0: /* 2 */
S_167_0: /* 2 */
		if (!((((((int)now.lease[ Index(((int)((P0 *)_this)->n), 2) ])==0)&& !(((int)now.settled)))&&(((int)now.running[ Index(((int)((P0 *)_this)->n), 2) ])!=0))))
			goto S_172_1;
S_168_0: /* 2 */
		now.reassertion[ Index(((P0 *)_this)->n, 2) ] = 2;
#ifdef VAR_RANGES
		logval("reassertion[Node:n]", ((int)now.reassertion[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
		goto S_173_0;
S_172_1: /* 3 */
S_169_0: /* 2 */
		/* else */;
S_170_0: /* 2 */
		now.reassertion[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("reassertion[Node:n]", ((int)now.reassertion[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_171_0: /* 2 */
		now.known_generation[ Index(((P0 *)_this)->n, 2) ] = ((int)now.generation);
#ifdef VAR_RANGES
		logval("known_generation[Node:n]", ((int)now.known_generation[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
		goto S_173_0;
S_172_2: /* 3 */
		Uerror("blocking sel in d_step (nr.23, near line 79)");
S_173_0: /* 2 */
		goto S_620_0; /* '.' */
		goto S_620_0; /* ';' */
		goto S_620_0; /* ';' */

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
		_m = 3; goto P999;

	case 29: // STATE 190 - world.pml:53 - [D_STEP53]
		if (!(boq == -1 && ((((((((int)now.mode[ Index(((int)((P0 *)_this)->n), 2) ])==0)&&(((int)now.running[ Index(((int)((P0 *)_this)->n), 2) ])==0))&&(((int)now.claim[ Index(((int)((P0 *)_this)->n), 2) ])==0))&&(((int)now.newest)<3))&&(((int)now.known_generation[ Index(((int)((P0 *)_this)->n), 2) ])==((int)now.generation)))&&1)))
			continue;

		reached[0][190] = 1;
		reached[0][t->st] = 1;
		reached[0][tt] = 1;

		if (TstOnly) return 1;

		sv_save();
		S_176_0: /* 2 */
		if (!(((((((((int)now.mode[ Index(((int)((P0 *)_this)->n), 2) ])==0)&&(((int)now.running[ Index(((int)((P0 *)_this)->n), 2) ])==0))&&(((int)now.claim[ Index(((int)((P0 *)_this)->n), 2) ])==0))&&(((int)now.newest)<3))&&(((int)now.known_generation[ Index(((int)((P0 *)_this)->n), 2) ])==((int)now.generation)))&&1)))
			Uerror("block in d_step seq");
S_187_0: /* 2 */
S_177_0: /* 2 */
		now.claim[ Index(((P0 *)_this)->n, 2) ] = 1;
#ifdef VAR_RANGES
		logval("claim[Node:n]", ((int)now.claim[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_178_0: /* 2 */
		now.claim_by[ Index(((P0 *)_this)->n, 2) ] = ((int)now.self[ Index(((int)((P0 *)_this)->n), 2) ]);
#ifdef VAR_RANGES
		logval("claim_by[Node:n]", ((int)now.claim_by[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_179_0: /* 2 */
		now.claim_generation[ Index(((P0 *)_this)->n, 2) ] = ((int)now.generation);
#ifdef VAR_RANGES
		logval("claim_generation[Node:n]", ((int)now.claim_generation[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_180_0: /* 2 */
		now.claim_effect[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("claim_effect[Node:n]", ((int)now.claim_effect[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_181_0: /* 2 */
		now.from_incarnation[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("from_incarnation[Node:n]", ((int)now.from_incarnation[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_182_0: /* 2 */
		now.from_epoch[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("from_epoch[Node:n]", ((int)now.from_epoch[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_183_0: /* 2 */
		now.got_incarnation[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("got_incarnation[Node:n]", ((int)now.got_incarnation[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_184_0: /* 2 */
		now.got_epoch[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("got_epoch[Node:n]", ((int)now.got_epoch[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_185_0: /* 2 */
		now.got_version[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("got_version[Node:n]", ((int)now.got_version[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_186_0: /* 2 */
		now.got_state[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("got_state[Node:n]", ((int)now.got_state[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
		goto S_188_0;
S_188_0: /* 2 */
		if (!(1))
			Uerror("block in d_step seq");
		goto S_620_0; /* ';' */

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
		_m = 3; goto P999;

	case 30: // STATE 232 - world.pml:55 - [D_STEP55]
		if (!(boq == -1 && (((((int)now.claim[ Index(((int)((P0 *)_this)->n), 2) ])==1)&&(((int)now.known_generation[ Index(((int)((P0 *)_this)->n), 2) ])==((int)now.generation)))&&(((int)now.newest)<3))))
			continue;

		reached[0][232] = 1;
		reached[0][t->st] = 1;
		reached[0][tt] = 1;

		if (TstOnly) return 1;

		sv_save();
		S_190_0: /* 2 */
		if (!((((((int)now.claim[ Index(((int)((P0 *)_this)->n), 2) ])==1)&&(((int)now.known_generation[ Index(((int)((P0 *)_this)->n), 2) ])==((int)now.generation)))&&(((int)now.newest)<3))))
			Uerror("block in d_step seq");
S_230_0: /* 2 */
S_228_0: /* 2 */
S_191_0: /* 2 */
		if (!((((int)now.claim_effect[ Index(((int)((P0 *)_this)->n), 2) ])!=0)))
			goto S_228_1;
S_192_0: /* 2 */
		now.claim[ Index(((P0 *)_this)->n, 2) ] = 2;
#ifdef VAR_RANGES
		logval("claim[Node:n]", ((int)now.claim[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_193_0: /* 2 */
		now.got_epoch[ Index(((P0 *)_this)->n, 2) ] = ((int)now.claim_effect[ Index(((int)((P0 *)_this)->n), 2) ]);
#ifdef VAR_RANGES
		logval("got_epoch[Node:n]", ((int)now.got_epoch[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_194_0: /* 2 */
		now.got_version[ Index(((P0 *)_this)->n, 2) ] = ((int)now.version);
#ifdef VAR_RANGES
		logval("got_version[Node:n]", ((int)now.got_version[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_195_0: /* 2 */
		now.got_state[ Index(((P0 *)_this)->n, 2) ] = ((int)now.state);
#ifdef VAR_RANGES
		logval("got_state[Node:n]", ((int)now.got_state[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
		goto S_229_0;
S_228_1: /* 3 */
S_196_0: /* 2 */
		/* else */;
S_226_0: /* 2 */
S_197_0: /* 2 */
		if (!(((((int)now.owner)!=0)&& !(((((int)now.owner)==((int)now.from_incarnation[ Index(((int)((P0 *)_this)->n), 2) ]))&&(((int)now.epoch)==((int)now.from_epoch[ Index(((int)((P0 *)_this)->n), 2) ])))))))
			goto S_226_1;
S_198_0: /* 2 */
		spin_assert((((int)now.claim_effect[ Index(((int)((P0 *)_this)->n), 2) ])==0), "(claim_effect[n]==0)", II, tt, t);
S_199_0: /* 2 */
		now.claim[ Index(((P0 *)_this)->n, 2) ] = 3;
#ifdef VAR_RANGES
		logval("claim[Node:n]", ((int)now.claim[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_200_0: /* 2 */
		now.got_incarnation[ Index(((P0 *)_this)->n, 2) ] = ((int)now.owner);
#ifdef VAR_RANGES
		logval("got_incarnation[Node:n]", ((int)now.got_incarnation[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_201_0: /* 2 */
		now.got_epoch[ Index(((P0 *)_this)->n, 2) ] = ((int)now.epoch);
#ifdef VAR_RANGES
		logval("got_epoch[Node:n]", ((int)now.got_epoch[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
		goto S_227_0;
S_226_1: /* 3 */
S_202_0: /* 2 */
		if (!(( !(((((int)now.owner)!=0)&& !(((((int)now.owner)==((int)now.from_incarnation[ Index(((int)((P0 *)_this)->n), 2) ]))&&(((int)now.epoch)==((int)now.from_epoch[ Index(((int)((P0 *)_this)->n), 2) ]))))))&& !(((int)now.settled)))))
			goto S_226_2;
S_213_0: /* 2 */
S_203_0: /* 2 */
		now.claim[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("claim[Node:n]", ((int)now.claim[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_204_0: /* 2 */
		now.claim_by[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("claim_by[Node:n]", ((int)now.claim_by[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_205_0: /* 2 */
		now.claim_generation[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("claim_generation[Node:n]", ((int)now.claim_generation[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_206_0: /* 2 */
		now.claim_effect[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("claim_effect[Node:n]", ((int)now.claim_effect[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_207_0: /* 2 */
		now.from_incarnation[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("from_incarnation[Node:n]", ((int)now.from_incarnation[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_208_0: /* 2 */
		now.from_epoch[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("from_epoch[Node:n]", ((int)now.from_epoch[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_209_0: /* 2 */
		now.got_incarnation[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("got_incarnation[Node:n]", ((int)now.got_incarnation[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_210_0: /* 2 */
		now.got_epoch[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("got_epoch[Node:n]", ((int)now.got_epoch[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_211_0: /* 2 */
		now.got_version[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("got_version[Node:n]", ((int)now.got_version[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_212_0: /* 2 */
		now.got_state[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("got_state[Node:n]", ((int)now.got_state[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
		goto S_227_0;
		goto S_227_0;
S_226_2: /* 3 */
S_214_0: /* 2 */
		/* else */;
S_215_0: /* 2 */
		spin_assert((((int)now.claim_effect[ Index(((int)((P0 *)_this)->n), 2) ])==0), "(claim_effect[n]==0)", II, tt, t);
S_220_0: /* 2 */
S_216_0: /* 2 */
		spin_assert(((((int)now.acknowledged)& ~(((int)now.state)))==0), "((acknowledged& ~(state))==0)", II, tt, t);
S_217_0: /* 2 */
		now.newest = (((int)now.newest)+1);
#ifdef VAR_RANGES
		logval("newest", ((int)now.newest));
#endif
		;
S_218_0: /* 2 */
		now.epoch = ((int)now.newest);
#ifdef VAR_RANGES
		logval("epoch", ((int)now.epoch));
#endif
		;
S_219_0: /* 2 */
		now.owner = ((int)now.claim_by[ Index(((int)((P0 *)_this)->n), 2) ]);
#ifdef VAR_RANGES
		logval("owner", ((int)now.owner));
#endif
		;
		goto S_221_0;
S_221_0: /* 2 */
		now.claim_effect[ Index(((P0 *)_this)->n, 2) ] = ((int)now.epoch);
#ifdef VAR_RANGES
		logval("claim_effect[Node:n]", ((int)now.claim_effect[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_222_0: /* 2 */
		now.claim[ Index(((P0 *)_this)->n, 2) ] = 2;
#ifdef VAR_RANGES
		logval("claim[Node:n]", ((int)now.claim[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_223_0: /* 2 */
		now.got_epoch[ Index(((P0 *)_this)->n, 2) ] = ((int)now.epoch);
#ifdef VAR_RANGES
		logval("got_epoch[Node:n]", ((int)now.got_epoch[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_224_0: /* 2 */
		now.got_version[ Index(((P0 *)_this)->n, 2) ] = ((int)now.version);
#ifdef VAR_RANGES
		logval("got_version[Node:n]", ((int)now.got_version[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_225_0: /* 2 */
		now.got_state[ Index(((P0 *)_this)->n, 2) ] = ((int)now.state);
#ifdef VAR_RANGES
		logval("got_state[Node:n]", ((int)now.got_state[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
		goto S_227_0;
S_226_3: /* 3 */
		Uerror("blocking sel in d_step (nr.24, near line 64)");
S_227_0: /* 2 */
		goto S_229_0;
S_228_2: /* 3 */
		Uerror("blocking sel in d_step (nr.25, near line 58)");
S_229_0: /* 2 */
		goto S_620_0; /* '.' */
		goto S_620_0; /* ';' */
		goto S_620_0; /* ';' */

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
		_m = 3; goto P999;

	case 31: // STATE 301 - world.pml:56 - [D_STEP56]
		if (!(boq == -1 && ((((int)now.mode[ Index(((int)((P0 *)_this)->n), 2) ])==0)&&(((int)now.claim[ Index(((int)((P0 *)_this)->n), 2) ])==3))))
			continue;

		reached[0][301] = 1;
		reached[0][t->st] = 1;
		reached[0][tt] = 1;

		if (TstOnly) return 1;

		sv_save();
		S_232_0: /* 2 */
		if (!(((((int)now.mode[ Index(((int)((P0 *)_this)->n), 2) ])==0)&&(((int)now.claim[ Index(((int)((P0 *)_this)->n), 2) ])==3))))
			Uerror("block in d_step seq");
S_299_0: /* 2 */
S_297_0: /* 2 */
S_233_0: /* 2 */
		if (!((((int)now.got_incarnation[ Index(((int)((P0 *)_this)->n), 2) ])==((int)now.self[ Index(((int)((P0 *)_this)->n), 2) ]))))
			goto S_297_1;
S_244_0: /* 2 */
S_234_0: /* 2 */
		now.claim[ Index(((P0 *)_this)->n, 2) ] = 1;
#ifdef VAR_RANGES
		logval("claim[Node:n]", ((int)now.claim[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_235_0: /* 2 */
		now.claim_by[ Index(((P0 *)_this)->n, 2) ] = ((int)now.self[ Index(((int)((P0 *)_this)->n), 2) ]);
#ifdef VAR_RANGES
		logval("claim_by[Node:n]", ((int)now.claim_by[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_236_0: /* 2 */
		now.claim_generation[ Index(((P0 *)_this)->n, 2) ] = ((int)now.generation);
#ifdef VAR_RANGES
		logval("claim_generation[Node:n]", ((int)now.claim_generation[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_237_0: /* 2 */
		now.claim_effect[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("claim_effect[Node:n]", ((int)now.claim_effect[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_238_0: /* 2 */
		now.from_incarnation[ Index(((P0 *)_this)->n, 2) ] = ((int)now.self[ Index(((int)((P0 *)_this)->n), 2) ]);
#ifdef VAR_RANGES
		logval("from_incarnation[Node:n]", ((int)now.from_incarnation[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_239_0: /* 2 */
		now.from_epoch[ Index(((P0 *)_this)->n, 2) ] = ((int)now.got_epoch[ Index(((int)((P0 *)_this)->n), 2) ]);
#ifdef VAR_RANGES
		logval("from_epoch[Node:n]", ((int)now.from_epoch[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_240_0: /* 2 */
		now.got_incarnation[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("got_incarnation[Node:n]", ((int)now.got_incarnation[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_241_0: /* 2 */
		now.got_epoch[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("got_epoch[Node:n]", ((int)now.got_epoch[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_242_0: /* 2 */
		now.got_version[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("got_version[Node:n]", ((int)now.got_version[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_243_0: /* 2 */
		now.got_state[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("got_state[Node:n]", ((int)now.got_state[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
		goto S_298_0;
S_297_1: /* 3 */
S_245_0: /* 2 */
		if (!(((((int)now.got_incarnation[ Index(((int)((P0 *)_this)->n), 2) ])!=((int)now.self[ Index(((int)((P0 *)_this)->n), 2) ]))&& !((((int)now.known_generation[ Index(((int)((P0 *)_this)->n), 2) ])==((int)now.generation))))))
			goto S_297_2;
S_256_0: /* 2 */
S_246_0: /* 2 */
		now.claim[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("claim[Node:n]", ((int)now.claim[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_247_0: /* 2 */
		now.claim_by[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("claim_by[Node:n]", ((int)now.claim_by[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_248_0: /* 2 */
		now.claim_generation[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("claim_generation[Node:n]", ((int)now.claim_generation[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_249_0: /* 2 */
		now.claim_effect[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("claim_effect[Node:n]", ((int)now.claim_effect[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_250_0: /* 2 */
		now.from_incarnation[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("from_incarnation[Node:n]", ((int)now.from_incarnation[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_251_0: /* 2 */
		now.from_epoch[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("from_epoch[Node:n]", ((int)now.from_epoch[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_252_0: /* 2 */
		now.got_incarnation[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("got_incarnation[Node:n]", ((int)now.got_incarnation[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_253_0: /* 2 */
		now.got_epoch[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("got_epoch[Node:n]", ((int)now.got_epoch[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_254_0: /* 2 */
		now.got_version[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("got_version[Node:n]", ((int)now.got_version[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_255_0: /* 2 */
		now.got_state[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("got_state[Node:n]", ((int)now.got_state[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
		goto S_298_0;
		goto S_298_0;
S_297_2: /* 3 */
S_257_0: /* 2 */
		/* else */;
S_258_0: /* 2 */
		((P0 *)_this)->i = 1;
#ifdef VAR_RANGES
		logval("Node:i", ((int)((P0 *)_this)->i));
#endif
		;
S_269_0: /* 2 */
S_268_0: /* 2 */
S_259_0: /* 2 */
		if (!((((int)((P0 *)_this)->i)<=((int)now.joined))))
			goto S_268_1;
S_263_0: /* 2 */
S_260_0: /* 2 */
		if (!((((int)now.member[ Index(((int)((P0 *)_this)->i), 4) ])==2)))
			goto S_263_1;
S_261_0: /* 2 */
		now.known_dead[ Index(((P0 *)_this)->n, 2) ] = (((int)now.known_dead[ Index(((int)((P0 *)_this)->n), 2) ])|(1<<((int)((P0 *)_this)->i)));
#ifdef VAR_RANGES
		logval("known_dead[Node:n]", ((int)now.known_dead[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
		goto S_264_0;
S_263_1: /* 3 */
S_262_0: /* 2 */
		/* else */;
		goto S_264_0;
S_263_2: /* 3 */
		Uerror("blocking sel in d_step (nr.26, near line 109)");
S_264_0: /* 2 */
S_265_0: /* 2 */
		((P0 *)_this)->i = (((int)((P0 *)_this)->i)+1);
#ifdef VAR_RANGES
		logval("Node:i", ((int)((P0 *)_this)->i));
#endif
		;
		goto S_269_0; /* ';' */
S_268_1: /* 3 */
S_266_0: /* 2 */
		/* else */;
S_267_0: /* 2 */
		goto S_295_0;	/* 'goto' */
S_268_2: /* 3 */
		Uerror("blocking sel in d_step (nr.27, near line 113)");
S_270_0: /* 2 */
		goto S_295_0;	/* 'break' */
S_295_0: /* 2 */
S_271_0: /* 2 */
		if (!(((((int)now.member[ Index(((int)now.self[ Index(((int)((P0 *)_this)->n), 2) ]), 4) ])!=1)||(((int)now.member[ Index(((int)now.got_incarnation[ Index(((int)((P0 *)_this)->n), 2) ]), 4) ])==1))))
			goto S_295_1;
S_282_0: /* 2 */
S_272_0: /* 2 */
		now.claim[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("claim[Node:n]", ((int)now.claim[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_273_0: /* 2 */
		now.claim_by[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("claim_by[Node:n]", ((int)now.claim_by[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_274_0: /* 2 */
		now.claim_generation[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("claim_generation[Node:n]", ((int)now.claim_generation[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_275_0: /* 2 */
		now.claim_effect[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("claim_effect[Node:n]", ((int)now.claim_effect[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_276_0: /* 2 */
		now.from_incarnation[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("from_incarnation[Node:n]", ((int)now.from_incarnation[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_277_0: /* 2 */
		now.from_epoch[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("from_epoch[Node:n]", ((int)now.from_epoch[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_278_0: /* 2 */
		now.got_incarnation[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("got_incarnation[Node:n]", ((int)now.got_incarnation[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_279_0: /* 2 */
		now.got_epoch[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("got_epoch[Node:n]", ((int)now.got_epoch[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_280_0: /* 2 */
		now.got_version[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("got_version[Node:n]", ((int)now.got_version[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_281_0: /* 2 */
		now.got_state[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("got_state[Node:n]", ((int)now.got_state[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
		goto S_296_0;
S_295_1: /* 3 */
S_283_0: /* 2 */
		/* else */;
S_294_0: /* 2 */
S_284_0: /* 2 */
		now.claim[ Index(((P0 *)_this)->n, 2) ] = 1;
#ifdef VAR_RANGES
		logval("claim[Node:n]", ((int)now.claim[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_285_0: /* 2 */
		now.claim_by[ Index(((P0 *)_this)->n, 2) ] = ((int)now.self[ Index(((int)((P0 *)_this)->n), 2) ]);
#ifdef VAR_RANGES
		logval("claim_by[Node:n]", ((int)now.claim_by[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_286_0: /* 2 */
		now.claim_generation[ Index(((P0 *)_this)->n, 2) ] = ((int)now.generation);
#ifdef VAR_RANGES
		logval("claim_generation[Node:n]", ((int)now.claim_generation[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_287_0: /* 2 */
		now.claim_effect[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("claim_effect[Node:n]", ((int)now.claim_effect[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_288_0: /* 2 */
		now.from_incarnation[ Index(((P0 *)_this)->n, 2) ] = ((int)now.got_incarnation[ Index(((int)((P0 *)_this)->n), 2) ]);
#ifdef VAR_RANGES
		logval("from_incarnation[Node:n]", ((int)now.from_incarnation[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_289_0: /* 2 */
		now.from_epoch[ Index(((P0 *)_this)->n, 2) ] = ((int)now.got_epoch[ Index(((int)((P0 *)_this)->n), 2) ]);
#ifdef VAR_RANGES
		logval("from_epoch[Node:n]", ((int)now.from_epoch[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_290_0: /* 2 */
		now.got_incarnation[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("got_incarnation[Node:n]", ((int)now.got_incarnation[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_291_0: /* 2 */
		now.got_epoch[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("got_epoch[Node:n]", ((int)now.got_epoch[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_292_0: /* 2 */
		now.got_version[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("got_version[Node:n]", ((int)now.got_version[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_293_0: /* 2 */
		now.got_state[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("got_state[Node:n]", ((int)now.got_state[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
		goto S_296_0;
		goto S_296_0;
S_295_2: /* 3 */
		Uerror("blocking sel in d_step (nr.28, near line 114)");
S_296_0: /* 2 */
		goto S_298_0;
S_297_3: /* 3 */
		Uerror("blocking sel in d_step (nr.29, near line 104)");
S_298_0: /* 2 */
		goto S_620_0; /* '.' */
		goto S_620_0; /* ';' */
		goto S_620_0; /* ';' */

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
		_m = 3; goto P999;

	case 32: // STATE 329 - world.pml:57 - [D_STEP57]
		if (!(boq == -1 && ((((int)now.mode[ Index(((int)((P0 *)_this)->n), 2) ])==0)&&(((int)now.claim[ Index(((int)((P0 *)_this)->n), 2) ])==2))))
			continue;

		reached[0][329] = 1;
		reached[0][t->st] = 1;
		reached[0][tt] = 1;

		if (TstOnly) return 1;

		sv_save();
		S_301_0: /* 2 */
		if (!(((((int)now.mode[ Index(((int)((P0 *)_this)->n), 2) ])==0)&&(((int)now.claim[ Index(((int)((P0 *)_this)->n), 2) ])==2))))
			Uerror("block in d_step seq");
S_327_0: /* 2 */
S_314_0: /* 2 */
S_302_0: /* 2 */
		if (!((((((int)now.claim_by[ Index(((int)((P0 *)_this)->n), 2) ])!=((int)now.self[ Index(((int)((P0 *)_this)->n), 2) ]))||(((int)now.claim_generation[ Index(((int)((P0 *)_this)->n), 2) ])!=((int)now.generation)))|| !((((int)now.known_generation[ Index(((int)((P0 *)_this)->n), 2) ])==((int)now.generation))))))
			goto S_314_1;
S_303_0: /* 2 */
		if (!(1))
			Uerror("block in d_step seq");
		goto S_315_0;
S_314_1: /* 3 */
S_304_0: /* 2 */
		/* else */;
S_305_0: /* 2 */
		now.running[ Index(((P0 *)_this)->n, 2) ] = ((int)now.got_epoch[ Index(((int)((P0 *)_this)->n), 2) ]);
#ifdef VAR_RANGES
		logval("running[Node:n]", ((int)now.running[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_306_0: /* 2 */
		now.held[ Index(((P0 *)_this)->n, 2) ] = ((int)now.got_version[ Index(((int)((P0 *)_this)->n), 2) ]);
#ifdef VAR_RANGES
		logval("held[Node:n]", ((int)now.held[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_307_0: /* 2 */
		now.memory[ Index(((P0 *)_this)->n, 2) ] = ((int)now.got_state[ Index(((int)((P0 *)_this)->n), 2) ]);
#ifdef VAR_RANGES
		logval("memory[Node:n]", ((int)now.memory[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_312_0: /* 2 */
S_308_0: /* 2 */
		if (!(((((int)now.from_incarnation[ Index(((int)((P0 *)_this)->n), 2) ])!=0)&&(((int)now.from_incarnation[ Index(((int)((P0 *)_this)->n), 2) ])!=((int)now.self[ Index(((int)((P0 *)_this)->n), 2) ])))))
			goto S_312_1;
S_309_0: /* 2 */
		now.seized[ Index(((P0 *)_this)->n, 2) ] = (((int)now.seized[ Index(((int)((P0 *)_this)->n), 2) ])|(1<<((int)now.from_incarnation[ Index(((int)((P0 *)_this)->n), 2) ])));
#ifdef VAR_RANGES
		logval("seized[Node:n]", ((int)now.seized[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
		goto S_313_0;
S_312_1: /* 3 */
S_310_0: /* 2 */
		/* else */;
S_311_0: /* 2 */
		if (!(1))
			Uerror("block in d_step seq");
		goto S_313_0;
S_312_2: /* 3 */
		Uerror("blocking sel in d_step (nr.30, near line 133)");
S_313_0: /* 2 */
		goto S_315_0;
S_314_2: /* 3 */
		Uerror("blocking sel in d_step (nr.31, near line 124)");
S_315_0: /* 2 */
S_326_0: /* 2 */
S_316_0: /* 2 */
		now.claim[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("claim[Node:n]", ((int)now.claim[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_317_0: /* 2 */
		now.claim_by[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("claim_by[Node:n]", ((int)now.claim_by[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_318_0: /* 2 */
		now.claim_generation[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("claim_generation[Node:n]", ((int)now.claim_generation[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_319_0: /* 2 */
		now.claim_effect[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("claim_effect[Node:n]", ((int)now.claim_effect[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_320_0: /* 2 */
		now.from_incarnation[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("from_incarnation[Node:n]", ((int)now.from_incarnation[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_321_0: /* 2 */
		now.from_epoch[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("from_epoch[Node:n]", ((int)now.from_epoch[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_322_0: /* 2 */
		now.got_incarnation[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("got_incarnation[Node:n]", ((int)now.got_incarnation[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_323_0: /* 2 */
		now.got_epoch[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("got_epoch[Node:n]", ((int)now.got_epoch[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_324_0: /* 2 */
		now.got_version[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("got_version[Node:n]", ((int)now.got_version[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_325_0: /* 2 */
		now.got_state[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("got_state[Node:n]", ((int)now.got_state[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
		goto S_620_0; /* ';' */
		goto S_620_0; /* ';' */
		goto S_620_0; /* ';' */

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
		_m = 3; goto P999;

	case 33: // STATE 342 - world.pml:58 - [D_STEP58]
		if (!(boq == -1 && ((((int)now.claim[ Index(((int)((P0 *)_this)->n), 2) ])==1)&& !((((int)now.known_generation[ Index(((int)((P0 *)_this)->n), 2) ])==((int)now.generation))))))
			continue;

		reached[0][342] = 1;
		reached[0][t->st] = 1;
		reached[0][tt] = 1;

		if (TstOnly) return 1;

		sv_save();
		S_329_0: /* 2 */
		if (!(((((int)now.claim[ Index(((int)((P0 *)_this)->n), 2) ])==1)&& !((((int)now.known_generation[ Index(((int)((P0 *)_this)->n), 2) ])==((int)now.generation))))))
			Uerror("block in d_step seq");
S_340_0: /* 2 */
S_330_0: /* 2 */
		now.claim[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("claim[Node:n]", ((int)now.claim[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_331_0: /* 2 */
		now.claim_by[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("claim_by[Node:n]", ((int)now.claim_by[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_332_0: /* 2 */
		now.claim_generation[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("claim_generation[Node:n]", ((int)now.claim_generation[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_333_0: /* 2 */
		now.claim_effect[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("claim_effect[Node:n]", ((int)now.claim_effect[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_334_0: /* 2 */
		now.from_incarnation[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("from_incarnation[Node:n]", ((int)now.from_incarnation[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_335_0: /* 2 */
		now.from_epoch[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("from_epoch[Node:n]", ((int)now.from_epoch[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_336_0: /* 2 */
		now.got_incarnation[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("got_incarnation[Node:n]", ((int)now.got_incarnation[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_337_0: /* 2 */
		now.got_epoch[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("got_epoch[Node:n]", ((int)now.got_epoch[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_338_0: /* 2 */
		now.got_version[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("got_version[Node:n]", ((int)now.got_version[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_339_0: /* 2 */
		now.got_state[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("got_state[Node:n]", ((int)now.got_state[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
		goto S_620_0; /* ';' */
		goto S_620_0; /* ';' */

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
		_m = 3; goto P999;

	case 34: // STATE 358 - world.pml:59 - [D_STEP59]
		if (!(boq == -1 && (((((((((int)now.mode[ Index(((int)((P0 *)_this)->n), 2) ])==0)&&(((int)now.running[ Index(((int)((P0 *)_this)->n), 2) ])!=0))&& !(((int)now.turn[ Index(((int)((P0 *)_this)->n), 2) ])))&&(((int)now.commit[ Index(((int)((P0 *)_this)->n), 2) ])==0))&&(((int)now.known_generation[ Index(((int)((P0 *)_this)->n), 2) ])==((int)now.generation)))&&(((int)now.releases)>0))&& !(0))))
			continue;

		reached[0][358] = 1;
		reached[0][t->st] = 1;
		reached[0][tt] = 1;

		if (TstOnly) return 1;

		sv_save();
		S_342_0: /* 2 */
		if (!((((((((((int)now.mode[ Index(((int)((P0 *)_this)->n), 2) ])==0)&&(((int)now.running[ Index(((int)((P0 *)_this)->n), 2) ])!=0))&& !(((int)now.turn[ Index(((int)((P0 *)_this)->n), 2) ])))&&(((int)now.commit[ Index(((int)((P0 *)_this)->n), 2) ])==0))&&(((int)now.known_generation[ Index(((int)((P0 *)_this)->n), 2) ])==((int)now.generation)))&&(((int)now.releases)>0))&& !(0))))
			Uerror("block in d_step seq");
S_343_0: /* 2 */
		now.releases = (((int)now.releases)-1);
#ifdef VAR_RANGES
		logval("releases", ((int)now.releases));
#endif
		;
S_350_0: /* 2 */
S_348_0: /* 2 */
S_344_0: /* 2 */
		if (!(((((int)now.owner)==((int)now.self[ Index(((int)((P0 *)_this)->n), 2) ]))&&(((int)now.epoch)==((int)now.running[ Index(((int)((P0 *)_this)->n), 2) ])))))
			goto S_348_1;
S_345_0: /* 2 */
		now.owner = 0;
#ifdef VAR_RANGES
		logval("owner", ((int)now.owner));
#endif
		;
		goto S_349_0;
S_348_1: /* 3 */
S_346_0: /* 2 */
		/* else */;
S_347_0: /* 2 */
		if (!(1))
			Uerror("block in d_step seq");
		goto S_349_0;
S_348_2: /* 3 */
		Uerror("blocking sel in d_step (nr.32, near line 154)");
S_349_0: /* 2 */
		goto S_356_0;
S_356_0: /* 2 */
S_351_0: /* 2 */
		now.running[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("running[Node:n]", ((int)now.running[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_352_0: /* 2 */
		now.held[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("held[Node:n]", ((int)now.held[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_353_0: /* 2 */
		now.memory[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("memory[Node:n]", ((int)now.memory[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_354_0: /* 2 */
		now.turn[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("turn[Node:n]", ((int)now.turn[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_355_0: /* 2 */
		now.dropping[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("dropping[Node:n]", ((int)now.dropping[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
		goto S_620_0; /* ';' */
		goto S_620_0; /* ';' */

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
		_m = 3; goto P999;

	case 35: // STATE 363 - world.pml:63 - [D_STEP63]
		if (!(boq == -1 && (((((((int)now.mode[ Index(((int)((P0 *)_this)->n), 2) ])==0)&&(((int)now.running[ Index(((int)((P0 *)_this)->n), 2) ])!=0))&& !(((int)now.turn[ Index(((int)((P0 *)_this)->n), 2) ])))&&(((int)now.lease[ Index(((int)((P0 *)_this)->n), 2) ])>0))&& !(0))))
			continue;

		reached[0][363] = 1;
		reached[0][t->st] = 1;
		reached[0][tt] = 1;

		if (TstOnly) return 1;

		sv_save();
		S_358_0: /* 2 */
		if (!((((((((int)now.mode[ Index(((int)((P0 *)_this)->n), 2) ])==0)&&(((int)now.running[ Index(((int)((P0 *)_this)->n), 2) ])!=0))&& !(((int)now.turn[ Index(((int)((P0 *)_this)->n), 2) ])))&&(((int)now.lease[ Index(((int)((P0 *)_this)->n), 2) ])>0))&& !(0))))
			Uerror("block in d_step seq");
S_361_0: /* 2 */
S_359_0: /* 2 */
		spin_assert((((int)now.running[ Index(((int)((P0 *)_this)->n), 2) ])==((int)now.newest)), "(running[n]==newest)", II, tt, t);
S_360_0: /* 2 */
		now.turn[ Index(((P0 *)_this)->n, 2) ] = 1;
#ifdef VAR_RANGES
		logval("turn[Node:n]", ((int)now.turn[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
		goto S_620_0; /* ';' */
		goto S_620_0; /* ';' */

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
		_m = 3; goto P999;

	case 36: // STATE 366 - world.pml:64 - [D_STEP64]
		if (!(boq == -1 && (((((int)now.mode[ Index(((int)((P0 *)_this)->n), 2) ])==0)&&((int)now.turn[ Index(((int)((P0 *)_this)->n), 2) ]))&&(((int)now.commit[ Index(((int)((P0 *)_this)->n), 2) ])==0))))
			continue;

		reached[0][366] = 1;
		reached[0][t->st] = 1;
		reached[0][tt] = 1;

		if (TstOnly) return 1;

		sv_save();
		S_363_0: /* 2 */
		if (!((((((int)now.mode[ Index(((int)((P0 *)_this)->n), 2) ])==0)&&((int)now.turn[ Index(((int)((P0 *)_this)->n), 2) ]))&&(((int)now.commit[ Index(((int)((P0 *)_this)->n), 2) ])==0))))
			Uerror("block in d_step seq");
S_364_0: /* 2 */
		now.turn[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("turn[Node:n]", ((int)now.turn[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
		goto S_620_0; /* ';' */

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
		_m = 3; goto P999;

	case 37: // STATE 377 - world.pml:68 - [D_STEP68]
		if (!(boq == -1 && ((((((((int)now.mode[ Index(((int)((P0 *)_this)->n), 2) ])==0)&&((int)now.turn[ Index(((int)((P0 *)_this)->n), 2) ]))&&(((int)now.commit[ Index(((int)((P0 *)_this)->n), 2) ])==0))&& !(((int)now.dropping[ Index(((int)((P0 *)_this)->n), 2) ])))&&(((int)now.operations)<2))&& !(0))))
			continue;

		reached[0][377] = 1;
		reached[0][t->st] = 1;
		reached[0][tt] = 1;

		if (TstOnly) return 1;

		sv_save();
		S_366_0: /* 2 */
		if (!(((((((((int)now.mode[ Index(((int)((P0 *)_this)->n), 2) ])==0)&&((int)now.turn[ Index(((int)((P0 *)_this)->n), 2) ]))&&(((int)now.commit[ Index(((int)((P0 *)_this)->n), 2) ])==0))&& !(((int)now.dropping[ Index(((int)((P0 *)_this)->n), 2) ])))&&(((int)now.operations)<2))&& !(0))))
			Uerror("block in d_step seq");
S_375_0: /* 2 */
S_367_0: /* 2 */
		now.memory[ Index(((P0 *)_this)->n, 2) ] = (((int)now.memory[ Index(((int)((P0 *)_this)->n), 2) ])|(1<<((int)now.operations)));
#ifdef VAR_RANGES
		logval("memory[Node:n]", ((int)now.memory[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_368_0: /* 2 */
		now.commit[ Index(((P0 *)_this)->n, 2) ] = 1;
#ifdef VAR_RANGES
		logval("commit[Node:n]", ((int)now.commit[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_369_0: /* 2 */
		now.commit_by[ Index(((P0 *)_this)->n, 2) ] = ((int)now.self[ Index(((int)((P0 *)_this)->n), 2) ]);
#ifdef VAR_RANGES
		logval("commit_by[Node:n]", ((int)now.commit_by[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_370_0: /* 2 */
		now.commit_epoch[ Index(((P0 *)_this)->n, 2) ] = ((int)now.running[ Index(((int)((P0 *)_this)->n), 2) ]);
#ifdef VAR_RANGES
		logval("commit_epoch[Node:n]", ((int)now.commit_epoch[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_371_0: /* 2 */
		now.commit_version[ Index(((P0 *)_this)->n, 2) ] = ((int)now.held[ Index(((int)((P0 *)_this)->n), 2) ]);
#ifdef VAR_RANGES
		logval("commit_version[Node:n]", ((int)now.commit_version[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_372_0: /* 2 */
		now.commit_state[ Index(((P0 *)_this)->n, 2) ] = ((int)now.memory[ Index(((int)((P0 *)_this)->n), 2) ]);
#ifdef VAR_RANGES
		logval("commit_state[Node:n]", ((int)now.commit_state[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_373_0: /* 2 */
		now.commit_op[ Index(((P0 *)_this)->n, 2) ] = ((int)now.operations);
#ifdef VAR_RANGES
		logval("commit_op[Node:n]", ((int)now.commit_op[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_374_0: /* 2 */
		now.operations = (((int)now.operations)+1);
#ifdef VAR_RANGES
		logval("operations", ((int)now.operations));
#endif
		;
		goto S_620_0; /* ';' */
		goto S_620_0; /* ';' */

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
		_m = 3; goto P999;

	case 38: // STATE 406 - world.pml:69 - [D_STEP69]
		if (!(boq == -1 && ((((int)now.commit[ Index(((int)((P0 *)_this)->n), 2) ])==1)&&(((int)now.known_generation[ Index(((int)((P0 *)_this)->n), 2) ])==((int)now.generation)))))
			continue;

		reached[0][406] = 1;
		reached[0][t->st] = 1;
		reached[0][tt] = 1;

		if (TstOnly) return 1;

		sv_save();
		S_377_0: /* 2 */
		if (!(((((int)now.commit[ Index(((int)((P0 *)_this)->n), 2) ])==1)&&(((int)now.known_generation[ Index(((int)((P0 *)_this)->n), 2) ])==((int)now.generation)))))
			Uerror("block in d_step seq");
S_404_0: /* 2 */
S_378_0: /* 2 */
		now.commit_generation[ Index(((P0 *)_this)->n, 2) ] = ((int)now.generation);
#ifdef VAR_RANGES
		logval("commit_generation[Node:n]", ((int)now.commit_generation[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_402_0: /* 2 */
S_379_0: /* 2 */
		if (!((((int)now.last_commit)==(((int)now.commit_op[ Index(((int)((P0 *)_this)->n), 2) ])+1))))
			goto S_402_1;
S_380_0: /* 2 */
		now.commit[ Index(((P0 *)_this)->n, 2) ] = 2;
#ifdef VAR_RANGES
		logval("commit[Node:n]", ((int)now.commit[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_381_0: /* 2 */
		now.commit_version[ Index(((P0 *)_this)->n, 2) ] = ((int)now.last_version);
#ifdef VAR_RANGES
		logval("commit_version[Node:n]", ((int)now.commit_version[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
		goto S_403_0;
S_402_1: /* 3 */
S_382_0: /* 2 */
		if (!(( !((((int)now.last_commit)==(((int)now.commit_op[ Index(((int)((P0 *)_this)->n), 2) ])+1)))&& !(((((int)now.owner)==((int)now.commit_by[ Index(((int)((P0 *)_this)->n), 2) ]))&&(((int)now.epoch)==((int)now.commit_epoch[ Index(((int)((P0 *)_this)->n), 2) ])))))))
			goto S_402_2;
S_383_0: /* 2 */
		now.commit[ Index(((P0 *)_this)->n, 2) ] = 3;
#ifdef VAR_RANGES
		logval("commit[Node:n]", ((int)now.commit[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
		goto S_403_0;
S_402_2: /* 3 */
S_384_0: /* 2 */
		/* else */;
S_400_0: /* 2 */
S_385_0: /* 2 */
		if (!((((int)now.version)!=((int)now.commit_version[ Index(((int)((P0 *)_this)->n), 2) ]))))
			goto S_400_1;
S_386_0: /* 2 */
		spin_assert( !((((int)now.effects)&(1<<((int)now.commit_op[ Index(((int)((P0 *)_this)->n), 2) ])))), " !((effects&(1<<commit_op[n])))", II, tt, t);
S_387_0: /* 2 */
		now.commit[ Index(((P0 *)_this)->n, 2) ] = 4;
#ifdef VAR_RANGES
		logval("commit[Node:n]", ((int)now.commit[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
		goto S_401_0;
S_400_1: /* 3 */
S_388_0: /* 2 */
		/* else */;
S_397_0: /* 2 */
S_389_0: /* 2 */
		spin_assert((((int)now.commit_epoch[ Index(((int)((P0 *)_this)->n), 2) ])==((int)now.newest)), "(commit_epoch[n]==newest)", II, tt, t);
S_390_0: /* 2 */
		spin_assert(((((int)now.acknowledged)& ~(((int)now.commit_state[ Index(((int)((P0 *)_this)->n), 2) ])))==0), "((acknowledged& ~(commit_state[n]))==0)", II, tt, t);
S_391_0: /* 2 */
		spin_assert( !((((int)now.effects)&(1<<((int)now.commit_op[ Index(((int)((P0 *)_this)->n), 2) ])))), " !((effects&(1<<commit_op[n])))", II, tt, t);
S_392_0: /* 2 */
		now.effects = (((int)now.effects)|(1<<((int)now.commit_op[ Index(((int)((P0 *)_this)->n), 2) ])));
#ifdef VAR_RANGES
		logval("effects", ((int)now.effects));
#endif
		;
S_393_0: /* 2 */
		now.version = (((int)now.version)+1);
#ifdef VAR_RANGES
		logval("version", ((int)now.version));
#endif
		;
S_394_0: /* 2 */
		now.state = ((int)now.commit_state[ Index(((int)((P0 *)_this)->n), 2) ]);
#ifdef VAR_RANGES
		logval("state", ((int)now.state));
#endif
		;
S_395_0: /* 2 */
		now.last_commit = (((int)now.commit_op[ Index(((int)((P0 *)_this)->n), 2) ])+1);
#ifdef VAR_RANGES
		logval("last_commit", ((int)now.last_commit));
#endif
		;
S_396_0: /* 2 */
		now.last_version = ((int)now.version);
#ifdef VAR_RANGES
		logval("last_version", ((int)now.last_version));
#endif
		;
		goto S_398_0;
S_398_0: /* 2 */
		now.commit[ Index(((P0 *)_this)->n, 2) ] = 2;
#ifdef VAR_RANGES
		logval("commit[Node:n]", ((int)now.commit[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_399_0: /* 2 */
		now.commit_version[ Index(((P0 *)_this)->n, 2) ] = ((int)now.version);
#ifdef VAR_RANGES
		logval("commit_version[Node:n]", ((int)now.commit_version[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
		goto S_401_0;
S_400_2: /* 3 */
		Uerror("blocking sel in d_step (nr.33, near line 129)");
S_401_0: /* 2 */
		goto S_403_0;
S_402_3: /* 3 */
		Uerror("blocking sel in d_step (nr.34, near line 125)");
S_403_0: /* 2 */
		goto S_620_0; /* '.' */
		goto S_620_0; /* ';' */
		goto S_620_0; /* ';' */

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
		_m = 3; goto P999;

	case 39: // STATE 440 - world.pml:70 - [D_STEP70]
		if (!(boq == -1 && ((((int)now.mode[ Index(((int)((P0 *)_this)->n), 2) ])==0)&&(((int)now.commit[ Index(((int)((P0 *)_this)->n), 2) ])>1))))
			continue;

		reached[0][440] = 1;
		reached[0][t->st] = 1;
		reached[0][tt] = 1;

		if (TstOnly) return 1;

		sv_save();
		S_406_0: /* 2 */
		if (!(((((int)now.mode[ Index(((int)((P0 *)_this)->n), 2) ])==0)&&(((int)now.commit[ Index(((int)((P0 *)_this)->n), 2) ])>1))))
			Uerror("block in d_step seq");
S_438_0: /* 2 */
S_428_0: /* 2 */
S_407_0: /* 2 */
		if (!((((int)now.running[ Index(((int)((P0 *)_this)->n), 2) ])==((int)now.commit_epoch[ Index(((int)((P0 *)_this)->n), 2) ]))))
			goto S_428_1;
S_424_0: /* 2 */
S_408_0: /* 2 */
		if (!((((int)now.commit[ Index(((int)((P0 *)_this)->n), 2) ])==2)))
			goto S_424_1;
S_409_0: /* 2 */
		now.held[ Index(((P0 *)_this)->n, 2) ] = ((int)now.commit_version[ Index(((int)((P0 *)_this)->n), 2) ]);
#ifdef VAR_RANGES
		logval("held[Node:n]", ((int)now.held[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_410_0: /* 2 */
		now.turn[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("turn[Node:n]", ((int)now.turn[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_415_0: /* 2 */
S_411_0: /* 2 */
		if (!((((int)now.commit_generation[ Index(((int)((P0 *)_this)->n), 2) ])==((int)now.generation))))
			goto S_415_1;
S_412_0: /* 2 */
		now.acknowledged = (((int)now.acknowledged)|((int)now.commit_state[ Index(((int)((P0 *)_this)->n), 2) ]));
#ifdef VAR_RANGES
		logval("acknowledged", ((int)now.acknowledged));
#endif
		;
		goto S_416_0;
S_415_1: /* 3 */
S_413_0: /* 2 */
		/* else */;
S_414_0: /* 2 */
		if (!(1))
			Uerror("block in d_step seq");
		goto S_416_0;
S_415_2: /* 3 */
		Uerror("blocking sel in d_step (nr.35, near line 174)");
S_416_0: /* 2 */
		goto S_425_0;
S_424_1: /* 3 */
S_417_0: /* 2 */
		/* else */;
S_423_0: /* 2 */
S_418_0: /* 2 */
		now.running[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("running[Node:n]", ((int)now.running[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_419_0: /* 2 */
		now.held[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("held[Node:n]", ((int)now.held[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_420_0: /* 2 */
		now.memory[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("memory[Node:n]", ((int)now.memory[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_421_0: /* 2 */
		now.turn[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("turn[Node:n]", ((int)now.turn[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_422_0: /* 2 */
		now.dropping[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("dropping[Node:n]", ((int)now.dropping[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
		goto S_425_0;
		goto S_425_0;
S_424_2: /* 3 */
		Uerror("blocking sel in d_step (nr.36, near line 169)");
S_425_0: /* 2 */
		goto S_429_0;
S_428_1: /* 3 */
S_426_0: /* 2 */
		/* else */;
S_427_0: /* 2 */
		if (!(1))
			Uerror("block in d_step seq");
		goto S_429_0;
S_428_2: /* 3 */
		Uerror("blocking sel in d_step (nr.37, near line 167)");
S_429_0: /* 2 */
S_437_0: /* 2 */
S_430_0: /* 2 */
		now.commit[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("commit[Node:n]", ((int)now.commit[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_431_0: /* 2 */
		now.commit_by[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("commit_by[Node:n]", ((int)now.commit_by[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_432_0: /* 2 */
		now.commit_epoch[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("commit_epoch[Node:n]", ((int)now.commit_epoch[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_433_0: /* 2 */
		now.commit_version[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("commit_version[Node:n]", ((int)now.commit_version[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_434_0: /* 2 */
		now.commit_state[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("commit_state[Node:n]", ((int)now.commit_state[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_435_0: /* 2 */
		now.commit_op[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("commit_op[Node:n]", ((int)now.commit_op[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_436_0: /* 2 */
		now.commit_generation[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("commit_generation[Node:n]", ((int)now.commit_generation[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
		goto S_620_0; /* ';' */
		goto S_620_0; /* ';' */
		goto S_620_0; /* ';' */

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
		_m = 3; goto P999;

	case 40: // STATE 445 - world.pml:86 - [D_STEP86]
		if (!(boq == -1 && (((((int)now.commit[ Index(((int)((P0 *)_this)->n), 2) ])>1)&&(((int)now.losses)>0))&& !(0))))
			continue;

		reached[0][445] = 1;
		reached[0][t->st] = 1;
		reached[0][tt] = 1;

		if (TstOnly) return 1;

		sv_save();
		S_440_0: /* 2 */
		if (!((((((int)now.commit[ Index(((int)((P0 *)_this)->n), 2) ])>1)&&(((int)now.losses)>0))&& !(0))))
			Uerror("block in d_step seq");
S_441_0: /* 2 */
		now.losses = (((int)now.losses)-1);
#ifdef VAR_RANGES
		logval("losses", ((int)now.losses));
#endif
		;
S_442_0: /* 2 */
		now.commit[ Index(((P0 *)_this)->n, 2) ] = 1;
#ifdef VAR_RANGES
		logval("commit[Node:n]", ((int)now.commit[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_443_0: /* 2 */
		now.commit_version[ Index(((P0 *)_this)->n, 2) ] = ((int)now.held[ Index(((int)((P0 *)_this)->n), 2) ]);
#ifdef VAR_RANGES
		logval("commit_version[Node:n]", ((int)now.commit_version[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
		goto S_620_0; /* ';' */

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
		_m = 3; goto P999;

	case 41: // STATE 452 - world.pml:87 - [D_STEP87]
		if (!(boq == -1 && (((((int)now.claim[ Index(((int)((P0 *)_this)->n), 2) ])==2)&&(((int)now.losses)>0))&& !(0))))
			continue;

		reached[0][452] = 1;
		reached[0][t->st] = 1;
		reached[0][tt] = 1;

		if (TstOnly) return 1;

		sv_save();
		S_445_0: /* 2 */
		if (!((((((int)now.claim[ Index(((int)((P0 *)_this)->n), 2) ])==2)&&(((int)now.losses)>0))&& !(0))))
			Uerror("block in d_step seq");
S_446_0: /* 2 */
		now.losses = (((int)now.losses)-1);
#ifdef VAR_RANGES
		logval("losses", ((int)now.losses));
#endif
		;
S_447_0: /* 2 */
		now.claim[ Index(((P0 *)_this)->n, 2) ] = 1;
#ifdef VAR_RANGES
		logval("claim[Node:n]", ((int)now.claim[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_448_0: /* 2 */
		now.got_epoch[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("got_epoch[Node:n]", ((int)now.got_epoch[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_449_0: /* 2 */
		now.got_version[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("got_version[Node:n]", ((int)now.got_version[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_450_0: /* 2 */
		now.got_state[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("got_state[Node:n]", ((int)now.got_state[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
		goto S_620_0; /* ';' */

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
		_m = 3; goto P999;

	case 42: // STATE 462 - world.pml:89 - [D_STEP89]
		if (!(boq == -1 && (((((((int)now.mode[ Index(((int)((P0 *)_this)->n), 2) ])==0)&&(((int)now.commit[ Index(((int)((P0 *)_this)->n), 2) ])==1))&&(((int)now.losses)>0))&&(((int)now.late_commit_by)==0))&& !(0))))
			continue;

		reached[0][462] = 1;
		reached[0][t->st] = 1;
		reached[0][tt] = 1;

		if (TstOnly) return 1;

		sv_save();
		S_452_0: /* 2 */
		if (!((((((((int)now.mode[ Index(((int)((P0 *)_this)->n), 2) ])==0)&&(((int)now.commit[ Index(((int)((P0 *)_this)->n), 2) ])==1))&&(((int)now.losses)>0))&&(((int)now.late_commit_by)==0))&& !(0))))
			Uerror("block in d_step seq");
S_453_0: /* 2 */
		now.losses = (((int)now.losses)-1);
#ifdef VAR_RANGES
		logval("losses", ((int)now.losses));
#endif
		;
S_460_0: /* 2 */
S_454_0: /* 2 */
		now.late_commit_by = ((int)now.commit_by[ Index(((int)((P0 *)_this)->n), 2) ]);
#ifdef VAR_RANGES
		logval("late_commit_by", ((int)now.late_commit_by));
#endif
		;
S_455_0: /* 2 */
		now.late_commit_epoch = ((int)now.commit_epoch[ Index(((int)((P0 *)_this)->n), 2) ]);
#ifdef VAR_RANGES
		logval("late_commit_epoch", ((int)now.late_commit_epoch));
#endif
		;
S_456_0: /* 2 */
		now.late_commit_version = ((int)now.commit_version[ Index(((int)((P0 *)_this)->n), 2) ]);
#ifdef VAR_RANGES
		logval("late_commit_version", ((int)now.late_commit_version));
#endif
		;
S_457_0: /* 2 */
		now.late_commit_state = ((int)now.commit_state[ Index(((int)((P0 *)_this)->n), 2) ]);
#ifdef VAR_RANGES
		logval("late_commit_state", ((int)now.late_commit_state));
#endif
		;
S_458_0: /* 2 */
		now.late_commit_op = ((int)now.commit_op[ Index(((int)((P0 *)_this)->n), 2) ]);
#ifdef VAR_RANGES
		logval("late_commit_op", ((int)now.late_commit_op));
#endif
		;
S_459_0: /* 2 */
		now.late_commit_generation = ((int)now.known_generation[ Index(((int)((P0 *)_this)->n), 2) ]);
#ifdef VAR_RANGES
		logval("late_commit_generation", ((int)now.late_commit_generation));
#endif
		;
		goto S_620_0; /* ';' */
		goto S_620_0; /* ';' */

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
		_m = 3; goto P999;

	case 43: // STATE 481 - world.pml:90 - [D_STEP90]
		if (!(boq == -1 && (((((((int)now.mode[ Index(((int)((P0 *)_this)->n), 2) ])==0)&&(((int)now.commit[ Index(((int)((P0 *)_this)->n), 2) ])==1))&&(((int)now.losses)>0))&&(((int)now.late_commit_by)==0))&& !(0))))
			continue;

		reached[0][481] = 1;
		reached[0][t->st] = 1;
		reached[0][tt] = 1;

		if (TstOnly) return 1;

		sv_save();
		S_462_0: /* 2 */
		if (!((((((((int)now.mode[ Index(((int)((P0 *)_this)->n), 2) ])==0)&&(((int)now.commit[ Index(((int)((P0 *)_this)->n), 2) ])==1))&&(((int)now.losses)>0))&&(((int)now.late_commit_by)==0))&& !(0))))
			Uerror("block in d_step seq");
S_463_0: /* 2 */
		now.losses = (((int)now.losses)-1);
#ifdef VAR_RANGES
		logval("losses", ((int)now.losses));
#endif
		;
S_470_0: /* 2 */
S_464_0: /* 2 */
		now.late_commit_by = ((int)now.commit_by[ Index(((int)((P0 *)_this)->n), 2) ]);
#ifdef VAR_RANGES
		logval("late_commit_by", ((int)now.late_commit_by));
#endif
		;
S_465_0: /* 2 */
		now.late_commit_epoch = ((int)now.commit_epoch[ Index(((int)((P0 *)_this)->n), 2) ]);
#ifdef VAR_RANGES
		logval("late_commit_epoch", ((int)now.late_commit_epoch));
#endif
		;
S_466_0: /* 2 */
		now.late_commit_version = ((int)now.commit_version[ Index(((int)((P0 *)_this)->n), 2) ]);
#ifdef VAR_RANGES
		logval("late_commit_version", ((int)now.late_commit_version));
#endif
		;
S_467_0: /* 2 */
		now.late_commit_state = ((int)now.commit_state[ Index(((int)((P0 *)_this)->n), 2) ]);
#ifdef VAR_RANGES
		logval("late_commit_state", ((int)now.late_commit_state));
#endif
		;
S_468_0: /* 2 */
		now.late_commit_op = ((int)now.commit_op[ Index(((int)((P0 *)_this)->n), 2) ]);
#ifdef VAR_RANGES
		logval("late_commit_op", ((int)now.late_commit_op));
#endif
		;
S_469_0: /* 2 */
		now.late_commit_generation = ((int)now.known_generation[ Index(((int)((P0 *)_this)->n), 2) ]);
#ifdef VAR_RANGES
		logval("late_commit_generation", ((int)now.late_commit_generation));
#endif
		;
		goto S_478_0;
S_478_0: /* 2 */
S_471_0: /* 2 */
		now.commit[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("commit[Node:n]", ((int)now.commit[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_472_0: /* 2 */
		now.commit_by[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("commit_by[Node:n]", ((int)now.commit_by[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_473_0: /* 2 */
		now.commit_epoch[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("commit_epoch[Node:n]", ((int)now.commit_epoch[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_474_0: /* 2 */
		now.commit_version[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("commit_version[Node:n]", ((int)now.commit_version[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_475_0: /* 2 */
		now.commit_state[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("commit_state[Node:n]", ((int)now.commit_state[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_476_0: /* 2 */
		now.commit_op[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("commit_op[Node:n]", ((int)now.commit_op[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_477_0: /* 2 */
		now.commit_generation[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("commit_generation[Node:n]", ((int)now.commit_generation[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
		goto S_479_0;
S_479_0: /* 2 */
		now.turn[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("turn[Node:n]", ((int)now.turn[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
		goto S_620_0; /* ';' */

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
		_m = 3; goto P999;

	case 44: // STATE 501 - world.pml:92 - [D_STEP92]
		if (!(boq == -1 && (((((((int)now.mode[ Index(((int)((P0 *)_this)->n), 2) ])==0)&&(((int)now.claim[ Index(((int)((P0 *)_this)->n), 2) ])==1))&&(((int)now.losses)>0))&&(((int)now.late_claim_by)==0))&& !(0))))
			continue;

		reached[0][501] = 1;
		reached[0][t->st] = 1;
		reached[0][tt] = 1;

		if (TstOnly) return 1;

		sv_save();
		S_481_0: /* 2 */
		if (!((((((((int)now.mode[ Index(((int)((P0 *)_this)->n), 2) ])==0)&&(((int)now.claim[ Index(((int)((P0 *)_this)->n), 2) ])==1))&&(((int)now.losses)>0))&&(((int)now.late_claim_by)==0))&& !(0))))
			Uerror("block in d_step seq");
S_482_0: /* 2 */
		now.losses = (((int)now.losses)-1);
#ifdef VAR_RANGES
		logval("losses", ((int)now.losses));
#endif
		;
S_488_0: /* 2 */
S_483_0: /* 2 */
		now.late_claim_by = ((int)now.claim_by[ Index(((int)((P0 *)_this)->n), 2) ]);
#ifdef VAR_RANGES
		logval("late_claim_by", ((int)now.late_claim_by));
#endif
		;
S_484_0: /* 2 */
		now.late_from_incarnation = ((int)now.from_incarnation[ Index(((int)((P0 *)_this)->n), 2) ]);
#ifdef VAR_RANGES
		logval("late_from_incarnation", ((int)now.late_from_incarnation));
#endif
		;
S_485_0: /* 2 */
		now.late_from_epoch = ((int)now.from_epoch[ Index(((int)((P0 *)_this)->n), 2) ]);
#ifdef VAR_RANGES
		logval("late_from_epoch", ((int)now.late_from_epoch));
#endif
		;
S_486_0: /* 2 */
		now.late_effect = ((int)now.claim_effect[ Index(((int)((P0 *)_this)->n), 2) ]);
#ifdef VAR_RANGES
		logval("late_effect", ((int)now.late_effect));
#endif
		;
S_487_0: /* 2 */
		now.late_claim_generation = ((int)now.known_generation[ Index(((int)((P0 *)_this)->n), 2) ]);
#ifdef VAR_RANGES
		logval("late_claim_generation", ((int)now.late_claim_generation));
#endif
		;
		goto S_499_0;
S_499_0: /* 2 */
S_489_0: /* 2 */
		now.claim[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("claim[Node:n]", ((int)now.claim[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_490_0: /* 2 */
		now.claim_by[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("claim_by[Node:n]", ((int)now.claim_by[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_491_0: /* 2 */
		now.claim_generation[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("claim_generation[Node:n]", ((int)now.claim_generation[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_492_0: /* 2 */
		now.claim_effect[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("claim_effect[Node:n]", ((int)now.claim_effect[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_493_0: /* 2 */
		now.from_incarnation[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("from_incarnation[Node:n]", ((int)now.from_incarnation[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_494_0: /* 2 */
		now.from_epoch[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("from_epoch[Node:n]", ((int)now.from_epoch[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_495_0: /* 2 */
		now.got_incarnation[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("got_incarnation[Node:n]", ((int)now.got_incarnation[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_496_0: /* 2 */
		now.got_epoch[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("got_epoch[Node:n]", ((int)now.got_epoch[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_497_0: /* 2 */
		now.got_version[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("got_version[Node:n]", ((int)now.got_version[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_498_0: /* 2 */
		now.got_state[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("got_state[Node:n]", ((int)now.got_state[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
		goto S_620_0; /* ';' */
		goto S_620_0; /* ';' */

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
		_m = 3; goto P999;

	case 45: // STATE 513 - world.pml:94 - [D_STEP94]
		if (!(boq == -1 && (((((int)now.mode[ Index(((int)((P0 *)_this)->n), 2) ])==0)&&(((int)now.freezes)>0))&& !(0))))
			continue;

		reached[0][513] = 1;
		reached[0][t->st] = 1;
		reached[0][tt] = 1;

		if (TstOnly) return 1;

		sv_save();
		S_501_0: /* 2 */
		if (!((((((int)now.mode[ Index(((int)((P0 *)_this)->n), 2) ])==0)&&(((int)now.freezes)>0))&& !(0))))
			Uerror("block in d_step seq");
S_502_0: /* 2 */
		now.freezes = (((int)now.freezes)-1);
#ifdef VAR_RANGES
		logval("freezes", ((int)now.freezes));
#endif
		;
S_503_0: /* 2 */
		now.mode[ Index(((P0 *)_this)->n, 2) ] = 1;
#ifdef VAR_RANGES
		logval("mode[Node:n]", ((int)now.mode[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_510_0: /* 2 */
S_508_0: /* 2 */
S_504_0: /* 2 */
		if (!(( !((((int)now.known_generation[ Index(((int)((P0 *)_this)->n), 2) ])==((int)now.generation)))&&(((int)now.running[ Index(((int)((P0 *)_this)->n), 2) ])==((int)now.newest)))))
			goto S_508_1;
S_505_0: /* 2 */
		now.acknowledged = 0;
#ifdef VAR_RANGES
		logval("acknowledged", ((int)now.acknowledged));
#endif
		;
		goto S_509_0;
S_508_1: /* 3 */
S_506_0: /* 2 */
		/* else */;
S_507_0: /* 2 */
		if (!(1))
			Uerror("block in d_step seq");
		goto S_509_0;
S_508_2: /* 3 */
		Uerror("blocking sel in d_step (nr.38, near line 197)");
S_509_0: /* 2 */
		goto S_511_0;
S_511_0: /* 2 */
		now.slow[ Index(((P0 *)_this)->n, 2) ] = (((int)now.slow[ Index(((int)((P0 *)_this)->n), 2) ])|| !((((int)now.known_generation[ Index(((int)((P0 *)_this)->n), 2) ])==((int)now.generation))));
#ifdef VAR_RANGES
		logval("slow[Node:n]", ((int)now.slow[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
		goto S_620_0; /* ';' */

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
		_m = 3; goto P999;

	case 46: // STATE 516 - world.pml:96 - [D_STEP96]
		if (!(boq == -1 && ((((int)now.mode[ Index(((int)((P0 *)_this)->n), 2) ])==1)&& !(0))))
			continue;

		reached[0][516] = 1;
		reached[0][t->st] = 1;
		reached[0][tt] = 1;

		if (TstOnly) return 1;

		sv_save();
		S_513_0: /* 2 */
		if (!(((((int)now.mode[ Index(((int)((P0 *)_this)->n), 2) ])==1)&& !(0))))
			Uerror("block in d_step seq");
S_514_0: /* 2 */
		now.mode[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("mode[Node:n]", ((int)now.mode[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
		goto S_620_0; /* ';' */

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
		_m = 3; goto P999;

	case 47: // STATE 532 - world.pml:97 - [D_STEP97]
		if (!(boq == -1 && ((((((int)now.mode[ Index(((int)((P0 *)_this)->n), 2) ])==0)&&(((int)now.running[ Index(((int)((P0 *)_this)->n), 2) ])!=0))&&(((int)now.worker_deaths)>0))&& !(0))))
			continue;

		reached[0][532] = 1;
		reached[0][t->st] = 1;
		reached[0][tt] = 1;

		if (TstOnly) return 1;

		sv_save();
		S_516_0: /* 2 */
		if (!(((((((int)now.mode[ Index(((int)((P0 *)_this)->n), 2) ])==0)&&(((int)now.running[ Index(((int)((P0 *)_this)->n), 2) ])!=0))&&(((int)now.worker_deaths)>0))&& !(0))))
			Uerror("block in d_step seq");
S_517_0: /* 2 */
		now.worker_deaths = (((int)now.worker_deaths)-1);
#ifdef VAR_RANGES
		logval("worker_deaths", ((int)now.worker_deaths));
#endif
		;
S_524_0: /* 2 */
S_522_0: /* 2 */
S_518_0: /* 2 */
		if (!(( !((((int)now.known_generation[ Index(((int)((P0 *)_this)->n), 2) ])==((int)now.generation)))&&(((int)now.running[ Index(((int)((P0 *)_this)->n), 2) ])==((int)now.newest)))))
			goto S_522_1;
S_519_0: /* 2 */
		now.acknowledged = 0;
#ifdef VAR_RANGES
		logval("acknowledged", ((int)now.acknowledged));
#endif
		;
		goto S_523_0;
S_522_1: /* 3 */
S_520_0: /* 2 */
		/* else */;
S_521_0: /* 2 */
		if (!(1))
			Uerror("block in d_step seq");
		goto S_523_0;
S_522_2: /* 3 */
		Uerror("blocking sel in d_step (nr.39, near line 197)");
S_523_0: /* 2 */
		goto S_530_0;
S_530_0: /* 2 */
S_525_0: /* 2 */
		now.running[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("running[Node:n]", ((int)now.running[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_526_0: /* 2 */
		now.held[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("held[Node:n]", ((int)now.held[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_527_0: /* 2 */
		now.memory[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("memory[Node:n]", ((int)now.memory[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_528_0: /* 2 */
		now.turn[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("turn[Node:n]", ((int)now.turn[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_529_0: /* 2 */
		now.dropping[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("dropping[Node:n]", ((int)now.dropping[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
		goto S_620_0; /* ';' */
		goto S_620_0; /* ';' */

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
		_m = 3; goto P999;

	case 48: // STATE 603 - world.pml:98 - [D_STEP98]
		if (!(boq == -1 && (((((int)now.mode[ Index(((int)((P0 *)_this)->n), 2) ])!=2)&&(((int)now.crashes)>0))&& !(0))))
			continue;

		reached[0][603] = 1;
		reached[0][t->st] = 1;
		reached[0][tt] = 1;

		if (TstOnly) return 1;

		sv_save();
		S_532_0: /* 2 */
		if (!((((((int)now.mode[ Index(((int)((P0 *)_this)->n), 2) ])!=2)&&(((int)now.crashes)>0))&& !(0))))
			Uerror("block in d_step seq");
S_533_0: /* 2 */
		now.crashes = (((int)now.crashes)-1);
#ifdef VAR_RANGES
		logval("crashes", ((int)now.crashes));
#endif
		;
S_601_0: /* 2 */
S_540_0: /* 2 */
S_538_0: /* 2 */
S_534_0: /* 2 */
		if (!(( !((((int)now.known_generation[ Index(((int)((P0 *)_this)->n), 2) ])==((int)now.generation)))&&(((int)now.running[ Index(((int)((P0 *)_this)->n), 2) ])==((int)now.newest)))))
			goto S_538_1;
S_535_0: /* 2 */
		now.acknowledged = 0;
#ifdef VAR_RANGES
		logval("acknowledged", ((int)now.acknowledged));
#endif
		;
		goto S_539_0;
S_538_1: /* 3 */
S_536_0: /* 2 */
		/* else */;
S_537_0: /* 2 */
		if (!(1))
			Uerror("block in d_step seq");
		goto S_539_0;
S_538_2: /* 3 */
		Uerror("blocking sel in d_step (nr.40, near line 197)");
S_539_0: /* 2 */
		goto S_551_0;
S_551_0: /* 2 */
S_541_0: /* 2 */
		if (!(((((int)now.commit[ Index(((int)((P0 *)_this)->n), 2) ])==1)&&(((int)now.late_commit_by)==0))))
			goto S_551_1;
S_548_0: /* 2 */
S_542_0: /* 2 */
		now.late_commit_by = ((int)now.commit_by[ Index(((int)((P0 *)_this)->n), 2) ]);
#ifdef VAR_RANGES
		logval("late_commit_by", ((int)now.late_commit_by));
#endif
		;
S_543_0: /* 2 */
		now.late_commit_epoch = ((int)now.commit_epoch[ Index(((int)((P0 *)_this)->n), 2) ]);
#ifdef VAR_RANGES
		logval("late_commit_epoch", ((int)now.late_commit_epoch));
#endif
		;
S_544_0: /* 2 */
		now.late_commit_version = ((int)now.commit_version[ Index(((int)((P0 *)_this)->n), 2) ]);
#ifdef VAR_RANGES
		logval("late_commit_version", ((int)now.late_commit_version));
#endif
		;
S_545_0: /* 2 */
		now.late_commit_state = ((int)now.commit_state[ Index(((int)((P0 *)_this)->n), 2) ]);
#ifdef VAR_RANGES
		logval("late_commit_state", ((int)now.late_commit_state));
#endif
		;
S_546_0: /* 2 */
		now.late_commit_op = ((int)now.commit_op[ Index(((int)((P0 *)_this)->n), 2) ]);
#ifdef VAR_RANGES
		logval("late_commit_op", ((int)now.late_commit_op));
#endif
		;
S_547_0: /* 2 */
		now.late_commit_generation = ((int)now.known_generation[ Index(((int)((P0 *)_this)->n), 2) ]);
#ifdef VAR_RANGES
		logval("late_commit_generation", ((int)now.late_commit_generation));
#endif
		;
		goto S_552_0;
S_551_1: /* 3 */
S_549_0: /* 2 */
		/* else */;
S_550_0: /* 2 */
		if (!(1))
			Uerror("block in d_step seq");
		goto S_552_0;
S_551_2: /* 3 */
		Uerror("blocking sel in d_step (nr.41, near line 205)");
S_552_0: /* 2 */
S_562_0: /* 2 */
S_553_0: /* 2 */
		if (!(((((int)now.claim[ Index(((int)((P0 *)_this)->n), 2) ])==1)&&(((int)now.late_claim_by)==0))))
			goto S_562_1;
S_559_0: /* 2 */
S_554_0: /* 2 */
		now.late_claim_by = ((int)now.claim_by[ Index(((int)((P0 *)_this)->n), 2) ]);
#ifdef VAR_RANGES
		logval("late_claim_by", ((int)now.late_claim_by));
#endif
		;
S_555_0: /* 2 */
		now.late_from_incarnation = ((int)now.from_incarnation[ Index(((int)((P0 *)_this)->n), 2) ]);
#ifdef VAR_RANGES
		logval("late_from_incarnation", ((int)now.late_from_incarnation));
#endif
		;
S_556_0: /* 2 */
		now.late_from_epoch = ((int)now.from_epoch[ Index(((int)((P0 *)_this)->n), 2) ]);
#ifdef VAR_RANGES
		logval("late_from_epoch", ((int)now.late_from_epoch));
#endif
		;
S_557_0: /* 2 */
		now.late_effect = ((int)now.claim_effect[ Index(((int)((P0 *)_this)->n), 2) ]);
#ifdef VAR_RANGES
		logval("late_effect", ((int)now.late_effect));
#endif
		;
S_558_0: /* 2 */
		now.late_claim_generation = ((int)now.known_generation[ Index(((int)((P0 *)_this)->n), 2) ]);
#ifdef VAR_RANGES
		logval("late_claim_generation", ((int)now.late_claim_generation));
#endif
		;
		goto S_563_0;
S_562_1: /* 3 */
S_560_0: /* 2 */
		/* else */;
S_561_0: /* 2 */
		if (!(1))
			Uerror("block in d_step seq");
		goto S_563_0;
S_562_2: /* 3 */
		Uerror("blocking sel in d_step (nr.42, near line 209)");
S_563_0: /* 2 */
S_569_0: /* 2 */
S_564_0: /* 2 */
		now.running[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("running[Node:n]", ((int)now.running[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_565_0: /* 2 */
		now.held[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("held[Node:n]", ((int)now.held[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_566_0: /* 2 */
		now.memory[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("memory[Node:n]", ((int)now.memory[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_567_0: /* 2 */
		now.turn[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("turn[Node:n]", ((int)now.turn[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_568_0: /* 2 */
		now.dropping[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("dropping[Node:n]", ((int)now.dropping[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
		goto S_580_0;
S_580_0: /* 2 */
S_570_0: /* 2 */
		now.claim[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("claim[Node:n]", ((int)now.claim[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_571_0: /* 2 */
		now.claim_by[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("claim_by[Node:n]", ((int)now.claim_by[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_572_0: /* 2 */
		now.claim_generation[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("claim_generation[Node:n]", ((int)now.claim_generation[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_573_0: /* 2 */
		now.claim_effect[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("claim_effect[Node:n]", ((int)now.claim_effect[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_574_0: /* 2 */
		now.from_incarnation[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("from_incarnation[Node:n]", ((int)now.from_incarnation[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_575_0: /* 2 */
		now.from_epoch[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("from_epoch[Node:n]", ((int)now.from_epoch[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_576_0: /* 2 */
		now.got_incarnation[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("got_incarnation[Node:n]", ((int)now.got_incarnation[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_577_0: /* 2 */
		now.got_epoch[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("got_epoch[Node:n]", ((int)now.got_epoch[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_578_0: /* 2 */
		now.got_version[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("got_version[Node:n]", ((int)now.got_version[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_579_0: /* 2 */
		now.got_state[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("got_state[Node:n]", ((int)now.got_state[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
		goto S_588_0;
S_588_0: /* 2 */
S_581_0: /* 2 */
		now.commit[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("commit[Node:n]", ((int)now.commit[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_582_0: /* 2 */
		now.commit_by[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("commit_by[Node:n]", ((int)now.commit_by[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_583_0: /* 2 */
		now.commit_epoch[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("commit_epoch[Node:n]", ((int)now.commit_epoch[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_584_0: /* 2 */
		now.commit_version[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("commit_version[Node:n]", ((int)now.commit_version[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_585_0: /* 2 */
		now.commit_state[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("commit_state[Node:n]", ((int)now.commit_state[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_586_0: /* 2 */
		now.commit_op[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("commit_op[Node:n]", ((int)now.commit_op[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_587_0: /* 2 */
		now.commit_generation[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("commit_generation[Node:n]", ((int)now.commit_generation[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
		goto S_589_0;
S_589_0: /* 2 */
		now.mode[ Index(((P0 *)_this)->n, 2) ] = 2;
#ifdef VAR_RANGES
		logval("mode[Node:n]", ((int)now.mode[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_590_0: /* 2 */
		now.lease[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("lease[Node:n]", ((int)now.lease[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_591_0: /* 2 */
		now.lost[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("lost[Node:n]", ((int)now.lost[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_592_0: /* 2 */
		now.renewal[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("renewal[Node:n]", ((int)now.renewal[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_593_0: /* 2 */
		now.renewal_age[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("renewal_age[Node:n]", ((int)now.renewal_age[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_594_0: /* 2 */
		now.declaration[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("declaration[Node:n]", ((int)now.declaration[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_595_0: /* 2 */
		now.declared_who[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("declared_who[Node:n]", ((int)now.declared_who[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_596_0: /* 2 */
		now.counter_same[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("counter_same[Node:n]", ((int)now.counter_same[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_597_0: /* 2 */
		now.known_dead[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("known_dead[Node:n]", ((int)now.known_dead[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_598_0: /* 2 */
		now.seized[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("seized[Node:n]", ((int)now.seized[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_599_0: /* 2 */
		now.reassertion[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("reassertion[Node:n]", ((int)now.reassertion[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_600_0: /* 2 */
		now.slow[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("slow[Node:n]", ((int)now.slow[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
		goto S_620_0; /* ';' */
		goto S_620_0; /* ';' */

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
		_m = 3; goto P999;

	case 49: // STATE 619 - world.pml:99 - [D_STEP99]
		if (!(boq == -1 && (((((int)now.mode[ Index(((int)((P0 *)_this)->n), 2) ])==2)&&(((int)now.joined)<3))&& !(0))))
			continue;

		reached[0][619] = 1;
		reached[0][t->st] = 1;
		reached[0][tt] = 1;

		if (TstOnly) return 1;

		sv_save();
		S_603_0: /* 2 */
		if (!((((((int)now.mode[ Index(((int)((P0 *)_this)->n), 2) ])==2)&&(((int)now.joined)<3))&& !(0))))
			Uerror("block in d_step seq");
S_604_0: /* 2 */
		now.mode[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("mode[Node:n]", ((int)now.mode[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_617_0: /* 2 */
S_609_0: /* 2 */
S_605_0: /* 2 */
		now.joined = (((int)now.joined)+1);
#ifdef VAR_RANGES
		logval("joined", ((int)now.joined));
#endif
		;
S_606_0: /* 2 */
		now.self[ Index(((P0 *)_this)->n, 2) ] = ((int)now.joined);
#ifdef VAR_RANGES
		logval("self[Node:n]", ((int)now.self[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_607_0: /* 2 */
		now.member[ Index(now.joined, 4) ] = 1;
#ifdef VAR_RANGES
		logval("member[joined]", ((int)now.member[ Index(((int)now.joined), 4) ]));
#endif
		;
S_608_0: /* 2 */
		now.quiet[ Index(now.joined, 4) ] = 0;
#ifdef VAR_RANGES
		logval("quiet[joined]", ((int)now.quiet[ Index(((int)now.joined), 4) ]));
#endif
		;
		goto S_610_0;
S_610_0: /* 2 */
		now.lost[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("lost[Node:n]", ((int)now.lost[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_611_0: /* 2 */
		now.lease[ Index(((P0 *)_this)->n, 2) ] = 2;
#ifdef VAR_RANGES
		logval("lease[Node:n]", ((int)now.lease[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_612_0: /* 2 */
		now.renewal[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("renewal[Node:n]", ((int)now.renewal[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_613_0: /* 2 */
		now.renewal_age[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("renewal_age[Node:n]", ((int)now.renewal_age[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_614_0: /* 2 */
		now.reassertion[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("reassertion[Node:n]", ((int)now.reassertion[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_615_0: /* 2 */
		now.known_generation[ Index(((P0 *)_this)->n, 2) ] = ((int)now.generation);
#ifdef VAR_RANGES
		logval("known_generation[Node:n]", ((int)now.known_generation[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
S_616_0: /* 2 */
		now.slow[ Index(((P0 *)_this)->n, 2) ] = 0;
#ifdef VAR_RANGES
		logval("slow[Node:n]", ((int)now.slow[ Index(((int)((P0 *)_this)->n), 2) ]));
#endif
		;
		goto S_620_0; /* ';' */
		goto S_620_0; /* ';' */

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
		_m = 3; goto P999;

	case 50: // STATE 623 - world.pml:101 - [-end-] (0:0:0 - 1)
		IfNotBlocked
		reached[0][623] = 1;
		if (!delproc(1, II)) continue;
		_m = 3; goto P999; /* 0 */
	case  _T5:	/* np_ */
		if (!((!(trpt->o_pm&4) && !(trpt->tau&128))))
			continue;
		/* else fall through */
	case  _T2:	/* true */
		_m = 3; goto P999;
#undef rand
	}

