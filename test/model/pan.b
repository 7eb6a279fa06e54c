	switch (t->back) {
	default: Uerror("bad return move");
	case  0: goto R999; /* nothing to undo */

		 /* PROC World */
	case 3: // STATE 14
		sv_restor();
		goto R999;

	case 4: // STATE 15
		;
		((P1 *)_this)->i = trpt->bup.oval;
		;
		goto R999;
;
		;
		
	case 6: // STATE 17
		;
		;
		delproc(0, now._nr_pr-1);
		;
		goto R999;

	case 7: // STATE 18
		;
		((P1 *)_this)->i = trpt->bup.oval;
		;
		goto R999;

	case 8: // STATE 24
		;
		((P1 *)_this)->i = trpt->bup.oval;
		;
		goto R999;
	case 9: // STATE 65
		sv_restor();
		goto R999;
	case 10: // STATE 69
		sv_restor();
		goto R999;
	case 11: // STATE 116
		sv_restor();
		goto R999;
	case 12: // STATE 139
		sv_restor();
		goto R999;
	case 13: // STATE 164
		sv_restor();
		goto R999;

	case 14: // STATE 168
		;
		p_restor(II);
		;
		;
		goto R999;

		 /* PROC Node */
	case 15: // STATE 4
		sv_restor();
		goto R999;
	case 16: // STATE 27
		sv_restor();
		goto R999;
	case 17: // STATE 46
		sv_restor();
		goto R999;
	case 18: // STATE 50
		sv_restor();
		goto R999;
	case 19: // STATE 54
		sv_restor();
		goto R999;
	case 20: // STATE 60
		sv_restor();
		goto R999;
	case 21: // STATE 66
		sv_restor();
		goto R999;
	case 22: // STATE 72
		sv_restor();
		goto R999;
	case 23: // STATE 91
		sv_restor();
		goto R999;
	case 24: // STATE 96
		sv_restor();
		goto R999;
	case 25: // STATE 104
		sv_restor();
		goto R999;
	case 26: // STATE 119
		sv_restor();
		goto R999;
	case 27: // STATE 142
		sv_restor();
		goto R999;
	case 28: // STATE 176
		sv_restor();
		goto R999;
	case 29: // STATE 190
		sv_restor();
		goto R999;
	case 30: // STATE 232
		sv_restor();
		goto R999;
	case 31: // STATE 301
		sv_restor();
		goto R999;
	case 32: // STATE 329
		sv_restor();
		goto R999;
	case 33: // STATE 342
		sv_restor();
		goto R999;
	case 34: // STATE 358
		sv_restor();
		goto R999;
	case 35: // STATE 363
		sv_restor();
		goto R999;
	case 36: // STATE 366
		sv_restor();
		goto R999;
	case 37: // STATE 377
		sv_restor();
		goto R999;
	case 38: // STATE 406
		sv_restor();
		goto R999;
	case 39: // STATE 440
		sv_restor();
		goto R999;
	case 40: // STATE 445
		sv_restor();
		goto R999;
	case 41: // STATE 452
		sv_restor();
		goto R999;
	case 42: // STATE 462
		sv_restor();
		goto R999;
	case 43: // STATE 481
		sv_restor();
		goto R999;
	case 44: // STATE 501
		sv_restor();
		goto R999;
	case 45: // STATE 513
		sv_restor();
		goto R999;
	case 46: // STATE 516
		sv_restor();
		goto R999;
	case 47: // STATE 532
		sv_restor();
		goto R999;
	case 48: // STATE 603
		sv_restor();
		goto R999;
	case 49: // STATE 619
		sv_restor();
		goto R999;

	case 50: // STATE 623
		;
		p_restor(II);
		;
		;
		goto R999;
	}

