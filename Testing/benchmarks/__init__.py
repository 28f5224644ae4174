"""Speed, as ratios against a floor or a peer in the same run.  python3 run.py bench [NAME] [--report R.json]"""
